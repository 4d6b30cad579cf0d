// A restore while it runs: the engine serves pages, QEMU tells when its guest runs.

import CheckpointStore
import MigrationCore
import MigrationEngine
import QMP
import Transport
import Wire

/// One restore, from the first check to the last page.
struct RunningRestore: Sendable {
  let checkpoint: Checkpoint
  let destination: QEMUDestination
  let request: RestoreRequest
  let pending: PendingRestores
  let observer: MoveObserver
  /// A block whose content the destination has already (clones that share memory).
  var sharedBlock: String?

  /// Runs the restore to its end.
  func run() async throws -> RestoreResult {
    let start = ContinuousClock.now
    try await destination.check(checkpoint, for: request.mode)
    try checkWaitingGuest()
    let source = try CheckpointSource(
      checkpoint, pageSizes: destination.pageSizes, omitted: Set(sharedBlock.map { [$0] } ?? []))
    let link = try await open()
    let engine = SourceEngine(channel: link.channel, endpoint: source, plan: plan)
    // A restore that breaks has learnt something too.
    defer { keepDemandOrder(source, engine.report) }
    let running = try await whileRemembered {
      try await destination.withSettings(for: request.mode, note: observer.note) {
        try await move(engine, link.handover)
      }
    }
    return result(engine.report, running: running, seconds: (ContinuousClock.now - start).inSeconds)
  }

  /// This process's end of the connection, and QEMU's where it has yet to be given.
  private func open() async throws -> (channel: ByteChannel, handover: DescriptorHandover?) {
    if request.mode == .recover {
      do { return (try await destination.recoveryConnection(), nil) } catch let error as MoveError {
        // There is nothing to recover, so there is nothing to remember either.
        if error.code == .wrongState { destination.process.map(pending.remove) }
        throw error
      }
    }
    var pair = try SocketPair()
    let channel = try ByteChannel(adopting: pair.take(), peer: "QEMU at \(request.qmp)")
    return (channel, DescriptorHandover(pair.take()))
  }

  private var plan: SourcePlan {
    switch request.mode {
    // The remembered pages follow the guest's start rather than precede it: each page sent before
    // makes the discards that QEMU carries out first more and smaller, which delays the guest by
    // tens of milliseconds; behind it they still overtake nearly every fault.
    case .instant: .postcopy(hotPageLimit: 0)
    case .eager: .precopy(returnPath: true)
    case .recover: .recovery
    }
  }

  /// Hands QEMU its end of the connection and serves the other until all memory is there; returns
  /// the time from the connection to the guest running.
  private func move(
    _ engine: SourceEngine, _ handover: DescriptorHandover?
  ) async throws -> Duration? {
    let metadata = CheckpointMetadata(decoding: checkpoint.state.metadata)
    let staysPaused = request.leavesPaused || !metadata.wasRunning
    if let handover {
      if staysPaused { try await destination.doNotRunOnArrival() }
      try await handover.give(to: destination.client)
    }

    let connected = ContinuousClock.now
    let watch = RunWatch(destination.client) { [observer] resumed in
      observer.running((resumed - connected).inMilliseconds)
    }
    let ticker = Task { await showProgress(of: engine, watch) }
    defer { ticker.cancel() }
    async let sent = EngineThread.run("godwit-restore", cancel: { engine.cancel() }) {
      try engine.run()
    }
    if handover != nil {
      do {
        try await destination.connect()
      } catch {
        engine.cancel()
        throw error
      }
    }
    _ = try await sent
    try await destination.waitUntilCompleted()
    // A guest that was stopped for its copy carries the run state 'paused' in its state.
    if request.mode == .eager && !staysPaused && metadata.mode == .paused {
      try await destination.client.resume()
      try await watch.waitForResume(atMost: .seconds(5))
    }
    return watch.firstResume.map { $0 - connected }
  }

  private func showProgress(of engine: SourceEngine, _ watch: RunWatch) async {
    var meter = ProgressMeter(targetPageSize: Int(checkpoint.state.targetPageSize))
    while !Task.isCancelled {
      let phase: MoveProgress.Phase = watch.firstResume == nil ? .memory : .running
      observer.progress(meter.outgoing(engine.progress, phase: phase))
      try? await Task.sleep(for: .milliseconds(100))
    }
  }

  private func result(
    _ report: SourceReport, running: Duration?, seconds: Double
  ) -> RestoreResult {
    let latency = report.requestLatency
    return RestoreResult(
      name: checkpoint.info.name, runningMilliseconds: running?.inMilliseconds,
      pageRequests: report.pageRequests, pagesPushed: report.pagesPushed,
      requestMicroseconds: latency.count == 0
        ? nil : (latency.p50.inMilliseconds * 1e3, latency.p99.inMilliseconds * 1e3),
      seconds: seconds)
  }

  /// Keeps what this restore taught, behind what was known before: pages that were sent ahead this
  /// time were not asked for and are still wanted first.
  private func keepDemandOrder(_ source: CheckpointSource, _ report: SourceReport) {
    // A recovery sends what a broken restore left over; its order says little of the guest's needs.
    guard request.mode != .recover || source.demandOrder.isEmpty else { return }
    let order = source.demandOrder.followed(by: report.demandOrder)
    guard order != source.demandOrder else { return }
    do {
      try checkpoint.record(order.record)
    } catch {
      observer.note("The next restore will be no faster than this one: \(error)")
    }
  }
}

// What is remembered of a guest that waits for its pages.
extension RunningRestore {
  /// A recovery must give the pages of the checkpoint that the guest was started from.
  private func checkWaitingGuest() throws(MoveError) {
    guard request.mode == .recover, let process = destination.process,
      let waiting = pending.of(process), waiting.checkpointID != checkpoint.info.id
    else { return }
    throw MoveError(
      .mismatch,
      "The guest at \(request.qmp) waits for pages of checkpoint '\(waiting.checkpointName)', not "
        + "of '\(checkpoint.info.name)': run 'godwit restore \(waiting.checkpointName) --qmp "
        + "\(request.qmp) --recover'.")
  }

  /// Runs `body` while a record beside the store says which guest waits for which checkpoint, and
  /// a keeper has the monitor open; both outlive this process where the guest goes on waiting.
  private func whileRemembered<Value>(_ body: () async throws -> Value) async throws -> Value {
    guard let process = destination.process, request.mode != .eager else {
      do { return try await body() } catch { throw await inQEMUsWords(error) }
    }
    let keeper = try request.keeperCommand.map {
      try MonitorKeeper(command: $0, client: destination.client, for: process)
    }
    try pending.add(
      PendingRestore(
        checkpointName: checkpoint.info.name, checkpointID: checkpoint.info.id, qmp: request.qmp,
        process: process, version: destination.client.version, pageSizes: destination.pageSizes,
        keeperPath: keeper?.socketPath))
    do {
      let value = try await body()
      pending.remove(process)
      keeper?.dismiss()
      return value
    } catch let error as MigrationError where error.isRecoverable || request.mode == .recover {
      destination.client.leaveOpen()
      throw MoveError(
        Task.isCancelled ? .cancelled : .failed,
        "\(error) The guest at \(request.qmp) keeps what it has and waits for the rest; 'godwit "
          + "restore \(checkpoint.info.name) --qmp \(request.qmp) --recover' carries on.")
    } catch {
      let explained = await inQEMUsWords(error)
      pending.remove(process)
      keeper?.dismiss()
      throw explained
    }
  }

  /// The error with QEMU's own reason for it, if it still answers and has one.
  private func inQEMUsWords(_ error: any Error) async -> any Error {
    guard !Task.isCancelled, let reason = await destination.failureReason() else { return error }
    return MoveError(
      .failed,
      "QEMU could not load checkpoint '\(checkpoint.info.name)': \(reason) (\(error))")
  }
}
