// A checkpoint as what a destination holds already: any of its pages need not travel.

public import CheckpointStore
public import MigrationEngine
public import PageHash

/// The pages of a checkpoint as known content.
///
/// What is announced comes out of the store's page table: no content is read for it.
public final class CheckpointPages: KnownContent {
  private let hashes: CheckpointHashes

  /// The pages of an open checkpoint.
  public init(_ checkpoint: Checkpoint) {
    hashes = CheckpointHashes(checkpoint)
  }

  /// Opens what a place names: a file, or a checkpoint of a store.
  public static func open(_ place: KnownContentPlace) throws -> any KnownContent {
    if let file = try place.openFile() { return file }
    guard case .checkpoint(let name, let path) = place else {
      throw KnownContentError("'\(place)'", "it is neither a file nor a checkpoint.")
    }
    return CheckpointPages(try Store.open(at: path, create: false).checkpoint(named: name))
  }

  /// Nothing takes long.
  public func prepare() {}

  /// Gives the prefixes of the hashes of all stored pages.
  public func announce(_ take: ([UInt64]) throws -> Bool) throws {
    try hashes.forEachHash { try take($0.map(\.prefix)) }
  }

  /// Reads the pages with some hashes out of the store.
  public func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool] {
    self.hashes.read(hashes, into: &pages)
  }
}
