// A save while it runs: QEMU sends, the engine records, and a person is told how far it is.

import MigrationEngine
import QMP
import Transport
import Wire

/// One save, from the first setting to the last.
///
/// QEMU's migration and the engine run side by side; this watches both. It resumes the guest as
/// soon as QEMU has handed everything over, before the checkpoint is durable, and whenever the
/// save fails.
struct RunningSave: Sendable {
  /// What a save measured.
  struct Outcome: Sendable {
    var pagesExcluded: UInt64?
    var downtimeMilliseconds: Double?
    var seconds: Double
  }

  let source: QEMUSource
  let engine: DestinationEngine
  let handover: DescriptorHandover
  let plan: SavePlan
  let then: AfterSave
  let excludedPages: String?
  let observer: MoveObserver

  /// Connects `recorder` to the machine behind `source`.
  init(
    source: QEMUSource, recorder: sending CheckpointRecorder, plan: SavePlan, then: AfterSave,
    excludedPages: String? = nil, observer: MoveObserver
  ) throws {
    var pair = try SocketPair()
    var options = DestinationOptions()
    options.decoder.targetPageSize = source.targetPageSize
    engine = DestinationEngine(
      channel: try ByteChannel(adopting: pair.take(), peer: "QEMU at \(source.client.address)"),
      endpoint: recorder, options: options)
    handover = DescriptorHandover(pair.take())
    self.source = source
    self.plan = plan
    self.then = then
    self.excludedPages = excludedPages
    self.observer = observer
  }

  /// Runs the save to its end.
  func run() async throws -> Outcome {
    let start = ContinuousClock.now
    let watch = RunWatch(source.client)
    let pagesExcluded: UInt64?
    do {
      pagesExcluded = try await source.withSettings(
        for: plan.mode, leavingOut: excludedPages, note: observer.note
      ) { try await move(watch) }
    } catch {
      // Not in the caller's task: the guest must go on after a cancellation too.
      await Task { try? await putBackInMotion() }.value
      throw Task.isCancelled
        ? MoveError(.cancelled, "The save was cancelled; the machine is as it was before.") : error
    }
    let seconds = (ContinuousClock.now - start).inSeconds
    if then == .quit { try await source.client.quit() }
    return Outcome(
      pagesExcluded: pagesExcluded, downtimeMilliseconds: watch.downtimeMilliseconds,
      seconds: seconds)
  }

  /// Moves the machine; how many pages of it the source left out, where it tells.
  private func move(_ watch: RunWatch) async throws -> UInt64? {
    if plan.mode == .paused && source.facts.isRunning { try await source.client.stop() }
    try await handover.give(to: source.client)
    let engine = engine
    async let recorded = EngineThread.run("godwit-save", cancel: { engine.cancel() }) {
      try engine.run()
    }
    let pagesExcluded: UInt64?
    do {
      try await source.client.migrate(to: DescriptorHandover.uri)
      pagesExcluded = try await watchMigration(watch)
    } catch {
      engine.cancel()
      // Where recording failed first, QEMU's 'broken pipe' is only the echo.
      do {
        _ = try await recorded
      } catch MigrationError.endpoint(_, let cause) {
        throw cause
      } catch {
        // The engine was cancelled just now; why QEMU failed says more.
      }
      throw error
    }
    observer.progress(MoveProgress(phase: .sealing))
    _ = try await recorded
    return pagesExcluded
  }

  /// Ends QEMU's side of a save that failed, and lets the guest go on.
  private func putBackInMotion() async throws {
    if try await !source.client.migration().status.isTerminal {
      try await source.client.migrateCancel()
      while try await !source.client.migration().status.isTerminal {
        try await Task.sleep(for: .milliseconds(5))
      }
    }
    try await source.resumeIfItRan()
  }

  /// Follows QEMU's migration to its end; throws what QEMU says when it fails.
  private func watchMigration(_ watch: RunWatch) async throws -> UInt64? {
    var meter = ProgressMeter(targetPageSize: source.targetPageSize)
    while true {
      let migration = try await source.client.migration()
      observer.progress(
        meter.incoming(
          engine.progress, phase: .memory, remaining: migration.ram?.remainingByteCount))
      switch migration.status {
      case .completed:
        if then == .resume { try await source.resumeIfItRan() }
        return migration.ram?.excludedPageCount
      case .failed, .cancelled:
        throw MoveError(
          .failed,
          "QEMU could not send the machine: \(migration.errorDescription ?? "it did not say why").")
      default:
        try await rest(watch)
      }
    }
  }

  /// Rests until the next look at the migration.
  ///
  /// A guest that stopped for the last of its memory waits for whoever looks, so that no time is
  /// lost then; one that stands still for the whole copy has time.
  private func rest(_ watch: RunWatch) async throws {
    let end = ContinuousClock.now + .milliseconds(20)
    repeat {
      try await Task.sleep(for: .milliseconds(2))
      if plan.mode != .paused, watch.isStopped { return }
    } while ContinuousClock.now < end
  }
}
