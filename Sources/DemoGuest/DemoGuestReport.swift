// What the guest says about itself once a second, read back.

/// One report line of the demo guest.
///
///     mem t=12.0 written=61440 checked=24580 bad=0 gap=1.3
public struct DemoGuestReport: Sendable, Equatable {
  /// The line that says the guest's memory is filled and its reports begin.
  public static let readyLine = "MEMGUEST-READY"

  /// Seconds since the guest was ready, by its own clock.
  public var t: Double
  /// Pages rewritten since then.
  public var written: UInt64
  /// Pages checked since then.
  public var checked: UInt64
  /// Pages that did not hold what they should; anything but 0 is lost memory.
  public var bad: UInt64
  /// The longest pause between two turns of the guest's loop since the last report, in
  /// milliseconds of the guest's own clock.
  public var gapMilliseconds: Double

  /// A report with the values given.
  public init(t: Double, written: UInt64, checked: UInt64, bad: UInt64, gapMilliseconds: Double) {
    self.t = t
    self.written = written
    self.checked = checked
    self.bad = bad
    self.gapMilliseconds = gapMilliseconds
  }

  /// Reads a report line; nil where the line is anything else, or torn.
  ///
  /// - Parameter line: one line without its line feed; a carriage return at its end is fine.
  public init?(line: some StringProtocol) {
    var words = line.split(whereSeparator: \.isWhitespace)[...]
    guard words.popFirst() == "mem", words.count == 5 else { return nil }
    var values: [Substring: Substring] = [:]
    for word in words {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { return nil }
      values[Substring(parts[0])] = Substring(parts[1])
    }
    guard let t = values["t"].flatMap({ Double($0) }),
      let written = values["written"].flatMap({ UInt64($0) }),
      let checked = values["checked"].flatMap({ UInt64($0) }),
      let bad = values["bad"].flatMap({ UInt64($0) }),
      let gap = values["gap"].flatMap({ Double($0) })
    else { return nil }
    self.init(t: t, written: written, checked: checked, bad: bad, gapMilliseconds: gap)
  }
}
