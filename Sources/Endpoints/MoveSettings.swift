// The migration settings a move needs in a QEMU, and why.

import JSON
import QMP

/// What Godwit sets in a QEMU for the time of a move.
///
/// Every capability that QEMU knows and that a move does not need is turned off meanwhile: several
/// of them change the stream (multifd, compress, mapped-ram), keep memory out of it
/// (x-ignore-shared), or free memory that a saved guest goes on using (release-ram).
enum MoveSettings {
  /// Capabilities for sending a machine to be saved in `mode`.
  static func capabilities(
    for mode: SaveMode, known: [String: Bool]
  ) -> [CapabilityRequirement] {
    mode == .live
      ? only([("background-snapshot", "save the moment at which the save began")], of: known)
      : only([], of: known)
  }

  /// Capabilities for taking a machine in `mode`.
  static func capabilities(
    for mode: RestoreMode, known: [String: Bool]
  ) -> [CapabilityRequirement] {
    switch mode {
    case .instant:
      only([("postcopy-ram", "let the guest run before its memory is there")], of: known)
    case .eager: only([], of: known)
    // A migration that is under way keeps the settings it began with.
    case .recover: []
    }
  }

  /// Turns on what is needed, and everything else that is known off.
  static func only(
    _ needed: [(name: String, purpose: String)], of known: [String: Bool]
  ) -> [CapabilityRequirement] {
    let names = Set(needed.map(\.name))
    return known.keys.filter { !names.contains($0) }.sorted().map {
      CapabilityRequirement($0, false, to: "move the machine over one plain connection")
    } + needed.map { CapabilityRequirement($0.name, true, to: $0.purpose) }
  }

  /// Parameters for sending: as fast as it goes, and in the clear, over a pair of sockets that no
  /// other process can reach.
  static let outgoingParameters = [
    ParameterRequirement("max-bandwidth", 0, to: "save as fast as the store takes it"),
    ParameterRequirement("tls-creds", "", to: "talk to Godwit over a private pair of sockets"),
  ]

  /// What has a machine of Godwit's own leave out the pages that a file names.
  static func exclusion(_ path: String?) -> [ParameterRequirement] {
    guard let path else { return [] }
    return [
      ParameterRequirement(
        exclusionParameter, .string(path), to: "leave out the pages that '\(path)' names")
    ]
  }

  /// Refuses to leave pages out of a machine that has no parameter for it, as a QEMU.
  static func checkExclusion(
    _ parameters: Set<String>, of name: String, at address: String
  ) throws(MoveError) {
    guard !parameters.contains(exclusionParameter) else { return }
    throw MoveError(
      .refused,
      "--exclude names pages for a machine of 'godwit vm run', which can leave them out; the one "
        + "at \(address) is a \(name), which sends all of its memory. Leave out --exclude.")
  }

  /// The parameter that takes the path of a file of bitmaps.
  private static let exclusionParameter = "x-exclude-bitmap"

  /// Parameters for taking a machine.
  static let incomingParameters = [
    ParameterRequirement("tls-creds", "", to: "talk to Godwit over a private pair of sockets")
  ]

  /// Applies settings, runs `body`, and puts back what was changed, whether or not it throws.
  ///
  /// What cannot be put back (QEMU may be gone) is said in a note; it is no failure of the move.
  /// - Parameter welcome: capabilities that are turned on where that can be done; nothing depends
  ///   on them.
  static func whileApplied<Value: Sendable>(
    to client: QMPClient, note: @escaping @Sendable (String) -> Void,
    capabilities: ([String: Bool]) -> [CapabilityRequirement],
    parameters: [ParameterRequirement], welcome: [CapabilityRequirement] = [],
    _ body: () async throws -> Value
  ) async throws -> Value {
    try await whileApplied(
      try await MigrationSettings.read(from: client), in: client, note: note,
      capabilities: capabilities, parameters: parameters, welcome: welcome, body)
  }

  /// The same with settings that were read already.
  static func whileApplied<Value: Sendable>(
    _ settings: MigrationSettings, in client: QMPClient,
    note: @escaping @Sendable (String) -> Void,
    capabilities: ([String: Bool]) -> [CapabilityRequirement],
    parameters: [ParameterRequirement], welcome: [CapabilityRequirement] = [],
    _ body: () async throws -> Value
  ) async throws -> Value {
    let outcome: Result<Value, any Error>
    do {
      try await settings.apply(capabilities(settings.capabilities), parameters)
      for capability in welcome { try? await settings.apply([capability]) }
      outcome = .success(try await body())
    } catch {
      outcome = .failure(error)
    }
    // Not in the caller's task: what was changed is put back after a cancellation too.
    await Task { await putBack(settings, in: client, note) }.value
    return try outcome.get()
  }

  /// Puts back what was changed, unless the migration still goes on (a guest that waits for pages):
  /// its settings are fixed until it ends, and its QEMU may not even answer.
  private static func putBack(
    _ settings: MigrationSettings, in client: QMPClient, _ note: @Sendable (String) -> Void
  ) async {
    guard let answer = try? await client.execute("query-migrate", timeout: .seconds(2)),
      MigrationInfo(answer).status.isTerminal
    else { return }
    do {
      try await settings.putBack()
    } catch {
      note("\(error)")
    }
  }
}
