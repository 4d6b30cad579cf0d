// `migrate --recover`: a new link for a machine that runs and waits for pages of its source.

import QMP
import Transport

extension Operations {
  /// Carries on a postcopy whose link broke.
  static func recover(
    _ request: MigrateRequest, _ trace: MigrationTrace, _ observer: MoveObserver,
    _ interruption: MoveInterruption
  ) async throws -> MigrateResult {
    try refuseSamePath(request)
    BrokenMove.forgetEnded()
    let source = try await QMPClient.connect(to: request.source)
    defer { source.close() }
    try await checkBroken(source, Patience(interruption, note: observer.note))
    let remote = try await RemoteEndpoint.reach(
      request, besideMonitor: RemoteSocket.recovering, observer, interruption)
    defer { remote?.close() }
    let destination = try await waitingDestination(request, source, remote)
    defer { destination.close() }
    let start = ContinuousClock.now
    let running = RunningMigrate(
      source: source, destination: destination, remote: remote,
      plan: MigratePlan(recovering: request), request: request, observer: observer, trace: trace,
      interruption: interruption)
    trace.follow(source, as: .source)
    trace.follow(destination, as: .destination)
    let info = try await keepingMonitor(of: running) { try await carryOn(running) }
    await BrokenMove.putBack(source: source, destination: destination, observer)
    return running.result(info, seconds: (ContinuousClock.now - start).inSeconds, isRecovery: true)
  }

  /// Leaves a keeper behind again where the recovery fails before the source was asked: the one
  /// that there was has handed the monitor over and is gone.
  private static func keepingMonitor(
    of running: RunningMigrate, _ body: () async throws -> MigrationInfo
  ) async throws -> MigrationInfo {
    do {
      return try await body()
    } catch let error as Explained {
      throw error.error
    } catch {
      await running.keepMonitorOfWaiting()
      throw error
    }
  }

  /// Makes a new link and has the source go on over it, to the end.
  private static func carryOn(_ running: RunningMigrate) async throws -> MigrationInfo {
    let (source, destination) = (running.source, running.destination)
    // The settings of a move that broke are those it began with.
    let usesPreempt = try await source.migrationCapabilities()[MigrateSettings.preempt] == true
    if let remote = running.remote {
      guard !usesPreempt else {
        throw MoveError(
          .refused,
          "The move began over two connections on this host, and ssh gives it one: carry it on "
            + "with the path of the destination's monitor here.")
      }
      try await QEMUDestination(recovering: destination).listen(at: remote.meetingPlace)
      try await remote.memoryConnection(destination).give(to: source)
      return try await running.carryOn(over: DescriptorHandover.uri)
    }
    guard usesPreempt else {
      try await newLink(to: destination).give(to: source)
      return try await running.carryOn(over: DescriptorHandover.uri)
    }
    return try await QEMUDestination(recovering: destination).whileListening { address in
      try await running.carryOn(over: "\(address)")
    }
  }

  /// A connection to a destination that waits for one, to be handed to the source.
  private static func newLink(to destination: QMPClient) async throws -> DescriptorHandover {
    let channel = try await QEMUDestination(recovering: destination).recoveryConnection()
    return DescriptorHandover(try channel.duplicateDescriptor())
  }

  /// The source must know that its link broke; one that has not noticed is told.
  private static func checkBroken(_ source: QMPClient, _ patience: Patience) async throws {
    let limit = ContinuousClock.now + .seconds(5)
    while true {
      let (status, runs) = try await patience.answer(from: source.address) {
        (try await source.migration().status, try await source.runState().isRunning)
      }
      // Who runs is where the machine went to; told to pause, it would lose its source.
      if status.isPostcopy, runs {
        throw MoveError(
          .wrongState,
          "The machine at \(source.address) runs: it is the end that waits for pages, not the one "
            + "that has them. Give it as --to, and the other one as --from.")
      }
      switch status {
      case .postcopyPaused: return
      case .postcopyActive, .postcopyRecover, .postcopyRecoverSetup:
        guard ContinuousClock.now < limit else {
          throw MoveError(
            .wrongState,
            "The source at \(source.address) is still sending ('\(status.word)'): there is "
              + "nothing to recover unless its link breaks.")
        }
        try await Task.sleep(for: .milliseconds(50))
      default:
        throw MoveError(
          .wrongState,
          "The machine at \(source.address) is not in a postcopy that broke (its migration is "
            + "'\(status.word)'): there is nothing to recover.")
      }
    }
  }

  /// The destination's monitor: from the keeper that a broken move left behind, where there is one.
  private static func waitingDestination(
    _ request: MigrateRequest, _ source: QMPClient, _ remote: RemoteEndpoint?
  ) async throws -> QMPClient {
    let (address, version) = ("\(request.destination)", source.version)
    if let remote {
      // Over there nothing tells whose monitor it is: the keeper goes by the source.
      guard let process = source.peerProcess.flatMap(ProcessIdentity.init(of:)),
        let monitor = MonitorKeeper.takeOver(
          at: MonitorKeeper.socketPath(forDestinationOf: process))
      else { return try await remote.monitor() }
      return try QMPClient.takeOver(
        monitor, address: address, version: version, isForwarded: true)
    }
    // Connecting tells whose monitor it is, even where nobody there has time to greet.
    let path = String(address.trimmingPrefix("unix:"))
    if let socket = try? MigrationURI("unix:\(path)"),
      let probe = try? await EngineThread.run(
        "godwit-probe", cancel: {}, { try ByteChannel.connect(to: socket, timeout: .seconds(2)) }),
      let process = probe.peerProcess.flatMap(ProcessIdentity.init(of:))
    {
      if let monitor = MonitorKeeper.takeOver(at: MonitorKeeper.socketPath(for: process)) {
        return try QMPClient.takeOver(monitor, address: address, version: version)
      }
    }
    return try await QMPClient.connect(to: address)
  }
}

extension MigratePlan {
  /// What is left to do of a postcopy that broke: the settings are those it began with.
  init(recovering request: MigrateRequest) {
    pausesFirst = false
    meetingPlace = nil
    postcopy = .now
    runsOnArrival = true
    sourceCapabilities = []
    destinationCapabilities = []
    sourceParameters = []
    destinationParameters = []
    notes = []
  }
}

extension RunningMigrate {
  /// Has the source go on over a new link, to the end.
  func carryOn(over address: String) async throws -> MigrationInfo {
    do {
      try await ask { try await $0.migrate(to: address, resumes: true) }
      let info = try await watch(switchesOver: false)
      try await waitForDestination()
      return info
    } catch {
      throw Explained(error: await explain(error).error)
    }
  }
}

/// A failure after which both ends were asked, and the monitor kept where that is needed.
struct Explained: Error {
  let error: MoveError
}
