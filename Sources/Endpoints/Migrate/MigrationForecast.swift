// When a migration under way will have an end, if it will; and what would help if it will not.

/// The figures that a forecast rests on.
struct MigrationPace: Sendable, Equatable {
  /// Bytes of guest memory that are still to be sent.
  var remainingBytes: UInt64
  /// Bytes of guest memory that go out in a second.
  var bytesPerSecond: Double
  /// Bytes of guest memory that the guest makes dirty in a second; nil before that is known.
  var dirtyBytesPerSecond: Double?
  /// What was left to send when the present pass began.
  var passBytes: UInt64
  /// What was left to send when the pass before began; nil where that was the first, or none.
  var previousPassBytes: UInt64?
  /// How long the guest may stand still, in seconds; nil where it stands still or runs at the
  /// destination already.
  var downtimeLimitSeconds: Double?
  /// The rate that the person allows, in bytes a second; nil for any.
  var limitBytesPerSecond: UInt64?
}

/// Whether, and when, a migration ends.
enum MigrationForecast: Sendable, Equatable {
  /// Too little is known.
  case unknown
  /// It ends in so many seconds, as things are.
  case ends(seconds: Double)
  /// It does not end at this rate; the sentence says why and what would help.
  case never(String)

  /// Seconds to the end, where there is one.
  var seconds: Double? {
    guard case .ends(let seconds) = self else { return nil }
    return seconds
  }

  /// Passes that shrink by less than this do not shrink: rates vary by as much.
  private static let highestRatio = 0.95

  /// Forecasts from the present pace.
  ///
  /// What a pass leaves behind is what became dirty while it ran, so passes shrink like a geometric
  /// series, by the ratio that the last two had, or of the rates before there are two. The machine
  /// is switched over once a pass is so small that it fits the downtime. A guest that writes to the
  /// same memory over and over has passes of one size, however its rate of dirtying compares.
  init(_ pace: MigrationPace) {
    let rate = pace.bytesPerSecond
    guard rate > 0 else {
      self = .unknown
      return
    }
    let left = Double(pace.remainingBytes)
    guard let limit = pace.downtimeLimitSeconds, let dirty = pace.dirtyBytesPerSecond, dirty > 0
    else {
      self = .ends(seconds: left / rate)
      return
    }
    let fits = rate * limit
    let pass = Double(pace.passBytes)
    var ratio = dirty / rate
    if let before = pace.previousPassBytes, before > 0 { ratio = pass / Double(before) }
    // With no downtime at all a guest that writes is never done, however little is left just now.
    guard limit == 0 || (left > fits && pass * ratio > fits) else {
      self = .ends(seconds: left / rate)
      return
    }
    guard limit > 0, ratio < Self.highestRatio else {
      self = .never(Self.explanation(pace, rate: rate, dirty: dirty, limit: limit))
      return
    }
    // The passes to come, each `ratio` of the one before, down to the one that fits.
    let bytes = (pass * ratio - max(fits, 1)) / (1 - ratio)
    self = .ends(seconds: (left + max(bytes, 0)) / rate)
  }

  private static func explanation(
    _ pace: MigrationPace, rate: Double, dirty: Double, limit: Double
  ) -> String {
    let writes =
      "the guest writes \(text(dirty)) a second and \(text(rate)) are sent, so each pass leaves "
      + "\(text(Double(pace.passBytes))) to send"
    guard limit > 0 else {
      return "It will not converge with a downtime of 0: \(writes). What would help: a longer "
        + "--downtime, or --postcopy."
    }
    var help: [String] = []
    if pace.limitBytesPerSecond == nil {
      help.append("a faster link")
    } else if dirty > rate * 1.2 {
      help.append("a --bandwidth above \(text(dirty * 1.25)) a second")
    } else {
      // No more can become dirty in a pass than what the guest writes to at all: how fast it writes
      // there cannot be seen.
      help.append("a --bandwidth several times higher")
    }
    let downtime = Double(pace.passBytes) / rate * 1000
    if downtime.isFinite, downtime < 2_000_000 {
      help.append("a --downtime of \(max(Int(downtime.rounded(.up)), 1)) ms")
    }
    help.append("--postcopy")
    return "It will not converge at this rate: \(writes). What would help: "
      + help.joined(separator: ", or ") + "."
  }

  private static func text(_ bytes: Double) -> String {
    ByteCount.text(UInt64(min(max(bytes, 0), 1e18)))
  }
}
