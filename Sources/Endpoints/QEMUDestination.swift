// A QEMU that waits for a machine (`-incoming defer`), or for the rest of one.

import CheckpointStore
import JSON
import QMP
import Wire

/// What a restore asks of the QEMU it restores into.
struct QEMUDestination: Sendable {
  let client: QMPClient
  /// Page sizes of its RAM blocks where they are not the host's ordinary 4 KiB, by block name.
  let pageSizes: [String: UInt64]
  /// Its process, where the monitor is a Unix socket of this host.
  let process: ProcessIdentity?
  /// Whether this QEMU can keep running after a failed load, and tell why it failed.
  private let survivesFailure: Bool
  /// What machine it is; nil where it cannot be asked because its main loop may stand still.
  private let facts: DestinationFacts?

  /// Asks the QEMU behind `client` what machine it is.
  init(_ client: QMPClient) async throws {
    self.client = client
    let blocks = try await client.ramBlocks()
    pageSizes = Dictionary(
      blocks.filter { $0.pageByteCount != 4096 }.map { ($0.name, UInt64($0.pageByteCount)) },
      uniquingKeysWith: { first, _ in first })
    survivesFailure = try await client.schema().command(
      "migrate-incoming", takes: "exit-on-error")
    process = client.peerProcess.flatMap(ProcessIdentity.init(of:))
    facts = try await DestinationFacts(of: client)
  }

  /// A QEMU whose guest waits for pages, as it was remembered.
  init(waiting restore: PendingRestore, _ client: QMPClient) {
    self.client = client
    pageSizes = restore.pageSizes
    process = restore.process
    survivesFailure = false
    facts = nil
  }

  /// A machine that waits for pages of another machine; it is not asked what it is.
  init(recovering client: QMPClient) {
    self.client = client
    pageSizes = [:]
    process = client.peerProcess.flatMap(ProcessIdentity.init(of:))
    survivesFailure = false
    facts = nil
  }

  /// Connects to the QEMU of a request.
  ///
  /// Where an earlier restore left a keeper, its connection is taken: it holds the monitor, and a
  /// QEMU whose main loop stands still would not answer a new one. A QEMU whose guest may wait is
  /// not asked what it is; that was remembered.
  static func find(
    _ request: RestoreRequest, _ pending: PendingRestores
  ) async throws -> QEMUDestination {
    let waiting = pending.at(qmp: request.qmp)
    let client: QMPClient
    if let waiting, let path = waiting.keeperPath,
      let monitor = MonitorKeeper.takeOver(at: path)
    {
      client = try QMPClient.takeOver(monitor, address: request.qmp, version: waiting.version)
    } else {
      client = try await QMPClient.connect(to: request.qmp)
    }
    guard request.mode == .recover, let waiting else { return try await QEMUDestination(client) }
    return QEMUDestination(waiting: waiting, client)
  }

  /// Refuses a QEMU that is not waiting, or that the checkpoint does not fit.
  func check(_ checkpoint: Checkpoint, for mode: RestoreMode) async throws {
    if mode != .recover {
      let migration = try await client.migration()
      let state = try await client.runState()
      guard state.status == "inmigrate", migration.status == .none else {
        throw MoveError(
          .wrongState,
          "The QEMU at \(client.address) does not wait for a machine (it is '\(state.status)'): "
            + "start one with -incoming defer, and use it for one restore.")
      }
    }
    if mode == .instant { try await refuseUnservableBackends() }
    guard let facts else { return }
    let sentences = Compatibility.mismatches(of: try CheckpointFacts(checkpoint), in: facts)
    guard sentences.isEmpty else {
      throw MoveError(
        .mismatch,
        "Checkpoint '\(checkpoint.info.name)' does not fit the QEMU at \(client.address). "
          + sentences.joined(separator: " "))
    }
  }

  /// Runs `body` with QEMU set up to take a machine in this way, and puts back what was changed.
  func withSettings<Value: Sendable>(
    for mode: RestoreMode, note: @escaping @Sendable (String) -> Void,
    _ body: () async throws -> Value
  ) async throws -> Value {
    guard mode != .recover else { return try await body() }
    return try await MoveSettings.whileApplied(
      to: client, note: note,
      capabilities: { MoveSettings.capabilities(for: mode, known: $0) },
      parameters: MoveSettings.incomingParameters, body)
  }

  /// Lets the guest stay paused once its state is loaded: in the run state 'inmigrate', `stop`
  /// only takes back the order to run on arrival.
  func doNotRunOnArrival() async throws { try await client.stop() }

  /// Tells QEMU to take the descriptor it was given as its connection to the source.
  func connect() async throws {
    var arguments = [JSONMember("uri", .string(DescriptorHandover.uri))]
    if survivesFailure { arguments.append(JSONMember("exit-on-error", false)) }
    try await client.execute("migrate-incoming", .object(arguments))
  }

  /// Waits until QEMU, which has everything, says so itself.
  func waitUntilCompleted() async throws {
    while true {
      let migration = try await client.migration()
      switch migration.status {
      case .completed: return
      case .failed, .cancelled, .postcopyPaused:
        throw MoveError(
          .failed,
          "QEMU reports '\(migration.status.word)' after everything was sent: "
            + "\(migration.errorDescription ?? "it does not say why").")
      default: try await Task.sleep(for: .milliseconds(5))
      }
    }
  }

  /// QEMU's own words on why the machine could not be loaded, if it still answers and has any.
  func failureReason() async -> String? {
    guard
      let answer = try? await client.execute("query-migrate", timeout: .seconds(2))
    else { return nil }
    let migration = MigrationInfo(answer)
    return migration.status == .failed ? migration.errorDescription : nil
  }
}

extension CheckpointFacts {
  /// The facts of a stored checkpoint.
  init(_ checkpoint: Checkpoint) throws {
    let state = DeviceState(
      bytes: checkpoint.state.deviceState, description: checkpoint.state.vmDescription)
    self.init(
      name: checkpoint.info.name, qemuVersion: checkpoint.info.qemuVersion,
      architecture: checkpoint.info.architecture, machine: checkpoint.info.machine,
      blocks: checkpoint.blocks.map {
        RAMBlockFact(name: $0.name, usedLength: $0.byteCount, maxLength: $0.byteCount)
      },
      sections: state.description == nil ? [] : try state.sections().map(\.header.name))
  }
}
