// A running QEMU whose machine is to be saved.

import QMP

/// What a save asks of the QEMU it saves from.
struct QEMUSource: Sendable {
  let client: QMPClient
  /// What decides how to save it.
  let facts: SourceFacts
  /// QEMU's version, as people write it.
  let version: String
  /// Target architecture, as QEMU names it.
  let architecture: String
  /// The guest's page size in bytes.
  let targetPageSize: Int
  /// The name QEMU was started with, if any.
  let guestName: String?

  /// What it is, with its version; a machine of Godwit's own has the version of a dialect only.
  var name: String { client.version.isGodwit ? "Godwit's machine" : "QEMU \(version)" }

  /// What runs the guest's instructions, as a checkpoint names it.
  var accelerator: String {
    if facts.isKVM { return "kvm" }
    return facts.isGodwit ? "synthetic" : "tcg"
  }

  /// Asks the QEMU behind `client` what it is and whether it can be saved now.
  init(_ client: QMPClient) async throws {
    self.client = client
    version = "\(client.version)"
    architecture = try await client.targetArchitecture()
    guestName = try await client.guestName()
    targetPageSize = Self.targetPageSize(of: architecture)
    let state = try await client.runState()
    try await Self.checkState(state, of: client)
    facts = SourceFacts(
      version: (client.version.major, client.version.minor),
      isKVM: try await client.isKVMEnabled(), isRunning: state.isRunning,
      writableDisks: try await client.writableDisks().map(\.name),
      canSnapshotInBackground: try await Self.canSnapshotInBackground(client),
      isGodwit: client.version.isGodwit)
  }

  /// The page size of the architectures whose pages are not 4 KiB; the stream tells it only where
  /// it is not the processor's smallest.
  private static func targetPageSize(of architecture: String) -> Int {
    ["alpha", "sparc64"].contains(architecture) ? 8192 : 4096
  }

  private static func checkState(_ state: RunState, of client: QMPClient) async throws {
    let migration = try await client.migration()
    if !migration.status.isTerminal {
      throw MoveError(
        .wrongState,
        "A migration of the QEMU at \(client.address) is under way ('\(migration.status.word)'): "
          + "wait for its end, then save.")
    }
    switch state.status {
    case "inmigrate":
      throw MoveError(
        .wrongState,
        "The QEMU at \(client.address) waits for an incoming machine: there is nothing to save.")
    case "postmigrate":
      throw MoveError(
        .wrongState,
        "The machine at \(client.address) was stopped by an earlier save or migration, and QEMU "
          + "sends such a machine no second time. Resume it (QMP command 'cont'), then save.")
    default: break
    }
  }

  /// Whether this QEMU on this host takes the capability: it checks the kernel's support and that
  /// of the guest's memory when it is set.
  private static func canSnapshotInBackground(_ client: QMPClient) async throws -> Bool {
    let name = "background-snapshot"
    let capabilities = try await client.migrationCapabilities()
    guard let isOn = capabilities[name] else { return false }
    if isOn { return true }
    // It excludes most others, which a save turns off before; only its own refusal counts here.
    let settings = try await MigrationSettings.read(from: client)
    var isSupported = true
    do {
      try await settings.apply(MoveSettings.capabilities(for: .live, known: capabilities))
    } catch QMPError.settingRefused(name, _, _) {
      isSupported = false
    } catch {
      try await settings.putBack()
      throw error
    }
    try await settings.putBack()
    return isSupported
  }

  /// Runs `body` with QEMU set up to send in this way, and puts back what was changed.
  func withSettings<Value: Sendable>(
    for mode: SaveMode, leavingOut path: String? = nil, note: @escaping @Sendable (String) -> Void,
    _ body: () async throws -> Value
  ) async throws -> Value {
    try await MoveSettings.whileApplied(
      to: client, note: note,
      capabilities: { MoveSettings.capabilities(for: mode, known: $0) },
      parameters: MoveSettings.outgoingParameters + MoveSettings.exclusion(path), body)
  }

  /// Lets the guest go on if it ran before the save; called once QEMU has sent everything, and
  /// whenever a save fails.
  func resumeIfItRan() async throws {
    guard facts.isRunning, try await !client.runState().isRunning else { return }
    try await client.resume()
  }
}
