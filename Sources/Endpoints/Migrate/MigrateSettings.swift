// The migration settings that both ends of a move need, and what of a person's own is kept.

import Foundation
import JSON
import QMP
import Transport

/// Capabilities and parameters of a move between two endpoints.
///
/// As for the other moves, what a plain connection does not need is turned off meanwhile. Kept is
/// what concerns the source alone, and what both ends agree on and a plain connection carries.
enum MigrateSettings {
  /// Slow the guest down or shrink what is sent, at the source's discretion.
  static let ofSourceAlone: Set<String> = ["auto-converge", "dirty-limit", "xbzrle"]
  /// Change the stream, in ways that both ends must expect.
  static let ofBoth: Set<String> = ["dirty-bitmaps", "validate-uuid", "x-ignore-shared"]
  /// Turned on where it can be: states and rounds are reported at the moment they begin.
  static let welcome = [CapabilityRequirement("events", true, to: "follow the move closely")]

  /// Lets pages that the destination holds travel as their hashes; both ends must know it.
  private static let knownPages = "x-known-pages"

  /// Lets the pages that the guest waits for go past all others, over a connection of their own.
  static let preempt = "postcopy-preempt"

  /// Where two ends meet that need more than a pair of sockets, beside the destination's monitor;
  /// nil where the pair will do.
  ///
  /// Two machines of Godwit's own do with a postcopy. A QEMU is left with one connection: what it
  /// may open where depends on how it is confined.
  static func meetingPlace(
    of source: MigrateFacts, and destination: MigrateFacts, usesPostcopy: Bool
  ) -> MigrationURI? {
    let mayBoth = [source, destination].allSatisfy { end in
      end.version.isGodwit && end.sharesFiles && end.capabilities[preempt] != nil
    }
    guard usesPostcopy, mayBoth else { return nil }
    let path = String(destination.address.trimmingPrefix("unix:"))
    return try? MigrationURI("unix:\(URL(fileURLWithPath: path).path).move")
  }

  private static func knowsPages(_ end: MigrateFacts) -> Bool {
    end.capabilities[knownPages] != nil
  }

  /// What `side` must have on and off, given the other end.
  static func capabilities(
    of side: MigrateFacts, with other: MigrateFacts, isSource: Bool, usesPostcopy: Bool,
    usesPreempt: Bool = false
  ) -> [CapabilityRequirement] {
    var needed: [(name: String, purpose: String)] = []
    let leavesOut = knowsPages(side) && knowsPages(other)
    if isSource || leavesOut {
      needed.append(("return-path", "learn whether the machine has arrived"))
    }
    if usesPostcopy {
      needed.append(("postcopy-ram", "let the guest run before its memory is there"))
    }
    if usesPreempt {
      needed.append((preempt, "let the pages that the guest waits for overtake the others"))
    }
    if leavesOut {
      needed.append((knownPages, "leave out what the destination holds already"))
    }
    var kept: Set<String> = isSource ? ofSourceAlone : []
    for name in ofBoth where side.capabilities[name] == true && other.capabilities[name] == true {
      if name != "x-ignore-shared" || !usesPostcopy { kept.insert(name) }
    }
    kept.formUnion(welcome.map(\.name))
    return MoveSettings.only(needed, of: side.capabilities.filter { !kept.contains($0.key) })
  }

  /// Names what the person had turned on and the move turns off, once.
  static func unusedNote(
    _ source: MigrateFacts, _ requirements: [CapabilityRequirement]
  ) -> [String] {
    let unused = requirements.filter { !$0.isOn && source.capabilities[$0.name] == true }
    guard !unused.isEmpty else { return [] }
    let names = unused.map(\.name).joined(separator: ", ")
    return ["Turned on at the source, off for this move over one plain connection: \(names)."]
  }

  /// QEMU counts in tenths of a second; what rounds to nothing there it takes for no limit at all.
  static let lowestRate: UInt64 = 10

  /// With a postcopy to come, a precopy ends by itself only where next to nothing is left, in
  /// milliseconds: the switch to postcopy takes no longer than that would.
  static let shortest: UInt64 = 1

  /// What the source is set to.
  static func sourceParameters(
    _ request: MigrateRequest, known: Set<String>
  ) -> [ParameterRequirement] {
    let rate = request.bytesPerSecond.map { max($0, lowestRate) } ?? 0
    let purpose = rate == 0 ? "send as fast as the link takes it" : "keep to the bandwidth"
    var parameters = [ParameterRequirement("max-bandwidth", JSONValue(rate), to: purpose)]
    if known.contains("max-postcopy-bandwidth") {
      parameters.append(
        ParameterRequirement("max-postcopy-bandwidth", JSONValue(rate), to: purpose))
    }
    if let limit = request.downtimeLimitMilliseconds ?? request.postcopy.map({ _ in shortest }) {
      parameters.append(
        ParameterRequirement(
          "downtime-limit", JSONValue(limit), to: "keep to the downtime asked for"))
    }
    if known.contains("tls-creds") {
      parameters.append(
        ParameterRequirement("tls-creds", "", to: "talk over a private pair of sockets"))
    }
    return parameters + MoveSettings.exclusion(request.excludedPages)
  }
}
