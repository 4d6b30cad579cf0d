// `migrate`: a machine from one endpoint to another, while it runs.

import Foundation
import QMP

extension Operations {
  /// Moves a machine between two endpoints that answer QMP.
  ///
  /// What does not fit is found before anything runs. Cancelling the surrounding task cancels the
  /// move while the machine is still the source's; once it runs at the destination the move goes
  /// on to its end. A move that fails says where the machine is.
  /// - Parameter trace: records the course of the move, for a report.
  public static func migrate(
    _ request: MigrateRequest, trace: MigrationTrace = MigrationTrace(),
    observer: MoveObserver = MoveObserver()
  ) async throws -> MigrateResult {
    observer.progress(MoveProgress(phase: .preparing))
    let interruption = MoveInterruption()
    // Not in the caller's task: a move that is cancelled has things to put in order.
    let work = Task {
      try await request.recovers
        ? recover(request, trace, observer, interruption)
        : move(request, trace, observer, interruption)
    }
    return try await withTaskCancellationHandler {
      try await work.value
    } onCancel: {
      interruption.request()
    }
  }

  private static func move(
    _ request: MigrateRequest, _ trace: MigrationTrace, _ observer: MoveObserver,
    _ interruption: MoveInterruption
  ) async throws -> MigrateResult {
    try refuseSamePath(request)
    let source = try await QMPClient.connect(to: request.source)
    defer { source.close() }
    let remote = try await RemoteEndpoint.reach(
      request, besideMonitor: RemoteSocket.moving, observer, interruption)
    defer { remote?.close() }
    let destination = try await monitor(of: request, remote)
    defer { destination.close() }
    let patience = Patience(interruption, note: observer.note)
    let facts = try await facts(of: source, patience)
    let plan = try MigratePlan(
      for: request, from: facts, to: try await Self.facts(of: destination, patience))
    // Where the source finds another file by that name, only it can tell.
    if facts.sharesFiles {
      try ExclusionCheck.check(request.excludedPages, for: facts.machine.blocks)
    }
    if plan.postcopy != nil {
      try await patience.answer(from: destination.address) {
        try await refuseUnservableBackend(request, destination)
      }
    }
    for note in plan.notes { observer.note(note) }
    guard !interruption.isRequested else {
      throw MoveError(.cancelled, "Cancelled before anything was begun.")
    }
    return try await RunningMigrate(
      source: source, destination: destination, remote: remote, plan: plan, request: request,
      observer: observer, trace: trace, interruption: interruption
    ).run()
  }

  private static func monitor(
    of request: MigrateRequest, _ remote: RemoteEndpoint?
  ) async throws -> QMPClient {
    if let remote { return try await remote.monitor() }
    return try await QMPClient.connect(to: "\(request.destination)")
  }

  private static func refuseUnservableBackend(
    _ request: MigrateRequest, _ destination: QMPClient
  ) async throws {
    guard let (name, path) = try await destination.unservableBackend() else { return }
    let there = "The memory backend '\(name)' of the destination at \(request.destination) lies in"
    let advice =
      "Leave out --postcopy, or put it on tmpfs (memory-backend-memfd, or a file in /dev/shm)"
    guard destination.isForwarded else {
      throw MoveError(
        .refused,
        "\(there) \(path), on a file system whose pages cannot be served while the guest runs. "
          + "\(advice).")
    }
    // What file system that is, only its host knows. QEMU 10 looks itself before the switch.
    guard destination.version.major < 10, !destination.version.isGodwit, !request.isForced else {
      return
    }
    throw MoveError(
      .refused,
      "\(there) \(path) on its host. Unless that is a tmpfs, its pages cannot be served while the "
        + "guest runs, and this QEMU ends when it finds out. \(advice), or say --force if it is.")
  }

  /// What an end is, however long it takes to say so; nothing was begun where it does not.
  static func facts(of end: QMPClient, _ patience: Patience) async throws -> MigrateFacts {
    do {
      return try await patience.answer(from: end.address) { try await MigrateFacts(of: end) }
    } catch let error as NoAnswer {
      throw MoveError(
        .cancelled,
        "Cancelled before anything was begun: the endpoint at \(error.address) does not answer.")
    }
  }

  /// One socket for both ends: its monitor, which serves one client, would not greet the second.
  static func refuseSamePath(_ request: MigrateRequest) throws(MoveError) {
    guard case .local(let destination) = request.destination else { return }
    func place(_ address: String) -> String {
      let path = String(address.trimmingPrefix("unix:"))
      return URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    }
    guard place(request.source) == place(destination) else { return }
    throw MoveError(
      .refused,
      "--from and --to name the same monitor, \(request.source): a machine cannot be moved into "
        + "itself. Start a second one with -incoming defer.")
  }
}
