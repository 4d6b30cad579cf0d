// `save`: a running QEMU into the store.

public import CheckpointStore
import JSON
import MigrationEngine
import QMP
import Transport

extension Operations {
  /// Saves the machine behind a QMP socket as a checkpoint.
  ///
  /// Whatever happens, the machine at the source stays whole: a save that fails or is cancelled
  /// leaves it running if it ran before, and nothing listed in the store.
  public static func save(
    _ request: SaveRequest, store: Store, observer: MoveObserver = MoveObserver()
  ) async throws -> SaveResult {
    let client = try await QMPClient.connect(to: request.qmp)
    defer { client.close() }
    observer.progress(MoveProgress(phase: .preparing))
    let source = try await QEMUSource(client)
    if request.excludedPages != nil {
      try MoveSettings.checkExclusion(
        Set(try await client.migrationParameters().map(\.name)), of: source.name,
        at: client.address)
    }
    let plan = try SavePlan(for: request, of: source.facts)
    if let note = plan.note { observer.note(note) }

    let writer = try store.beginCheckpoint(
      named: request.name,
      options: WriterOptions(compression: request.compresses ? .automatic : .none))
    let recording = RecordingOutcome()
    let recorder = CheckpointRecorder(
      writer: writer,
      origin: CheckpointRecorder.Origin(
        qemuVersion: source.version, architecture: source.architecture,
        targetPageSize: source.targetPageSize,
        metadata: CheckpointMetadata(
          wasRunning: source.facts.isRunning, guestName: source.guestName,
          accelerator: source.accelerator, mode: plan.mode)),
      outcome: recording)
    let save = try RunningSave(
      source: source, recorder: recorder, plan: plan, then: request.then,
      excludedPages: request.excludedPages, observer: observer)
    let outcome = try await save.run()
    guard let summary = recording.summary else {
      throw MoveError(.failed, "The engine ended without sealing checkpoint '\(request.name)'.")
    }
    return SaveResult(
      name: request.name, mode: plan.mode, summary: summary,
      pagesExcluded: outcome.pagesExcluded,
      downtimeMilliseconds: outcome.downtimeMilliseconds, seconds: outcome.seconds)
  }
}
