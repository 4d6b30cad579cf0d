// `restore`: a checkpoint into a QEMU that waits for one.

public import CheckpointStore
import MigrationEngine
import QMP
import Transport

extension Operations {
  /// Restores a checkpoint into a QEMU started with `-incoming defer`.
  ///
  /// What does not fit is found before anything runs. An instant restore that breaks leaves the
  /// guest waiting for its pages, and the error says how to carry on.
  public static func restore(
    _ request: RestoreRequest, store: Store, observer: MoveObserver = MoveObserver()
  ) async throws -> RestoreResult {
    let checkpoint = try store.checkpoint(named: request.name)
    observer.progress(MoveProgress(phase: .preparing))
    let pending = PendingRestores(storePath: store.path)
    var request = request
    var destination = try await QEMUDestination.find(request, pending)
    defer { destination.client.close() }
    if request.mode == .recover, try await destination.stillWaitsForMachine() {
      observer.note("The guest had not begun to run: its restore begins anew.")
      request.mode = .instant
      destination = try await QEMUDestination(destination.client)
    }
    let restore = RunningRestore(
      checkpoint: checkpoint, destination: destination, request: request, pending: pending,
      observer: observer)
    return try await restore.run()
  }

  /// Takes checkpoints off the list, all or none.
  ///
  /// Refused while a guest still waits for pages of one of them: it could never run on.
  public static func delete(_ names: [String], store: Store) throws {
    for restore in PendingRestores(storePath: store.path).all() {
      guard names.contains(restore.checkpointName),
        let checkpoint = try? store.checkpoint(named: restore.checkpointName),
        checkpoint.info.id == restore.checkpointID
      else { continue }
      throw MoveError(
        .refused,
        "Checkpoint '\(restore.checkpointName)' is not deleted: the guest of the QEMU at "
          + "\(restore.qmp) (process \(restore.process.pid)) still waits for pages of it. Let its "
          + "restore end, carry it on with 'godwit restore \(restore.checkpointName) --qmp "
          + "\(restore.qmp) --recover', or end that QEMU.")
    }
    try store.delete(names)
  }
}
