// A folder of checkpoints: opening it, and what it lists.

/// A store of checkpoints in a folder. Any number of threads and processes may use one at once.
public final class Store: Sendable {
  /// The folder.
  public let path: String

  init(path: String) { self.path = path }

  /// Opens the store in a folder.
  ///
  /// - Parameters:
  ///   - path: the folder.
  ///   - create: whether to make a store where there is none (the folder missing or empty).
  public static func open(at path: String, create: Bool = true) throws(StoreError) -> Store {
    Store(path: path)
  }

  /// The listed checkpoints, oldest first.
  public func checkpoints() throws(StoreError) -> [CheckpointInfo] { [] }

  /// Opens a listed checkpoint for reading; the cost does not depend on how much RAM it has.
  public func checkpoint(named name: String) throws(StoreError) -> Checkpoint {
    throw .noSuchCheckpoint(name, store: path)
  }

  /// Begins a save. The name is refused if it is taken or unusable; it is reserved only by `seal`.
  public func beginCheckpoint(
    named name: String, options: WriterOptions = WriterOptions()
  ) throws(StoreError) -> CheckpointWriter {
    CheckpointWriter(name: name)
  }

  /// Takes checkpoints off the list, all or none; their pages are freed by the next `collect`.
  public func delete(_ names: [String]) throws(StoreError) {
  }

  /// Reads everything that a checkpoint (or every one) needs, and says what is not as it was written.
  public func verify(
    _ name: String? = nil, progress: (StoreProgress) -> Void = { _ in }
  ) throws(StoreError) -> VerifyReport { VerifyReport() }

  /// Frees what no listed checkpoint needs.
  ///
  /// - Parameter waitSeconds: how long to wait for saves that are going on, before
  ///   `StoreError.busy` names them.
  public func collect(
    waitSeconds: Double = 0, progress: (StoreProgress) -> Void = { _ in }
  ) throws(StoreError) -> CollectReport { CollectReport() }

  /// What the store takes on disk.
  public func usage() throws(StoreError) -> StoreUsage { StoreUsage() }
}
