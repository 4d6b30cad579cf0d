// How many of a block's pages are zero, its own, or shared.

/// What a block's 4 KiB pages are.
public struct PageStatistics: Hashable, Sendable {
  /// All zero.
  public var zero: UInt64 = 0
  /// Stored, and no other checkpoint has the same content.
  public var unique: UInt64 = 0
  /// Stored, and another listed checkpoint has the same content.
  public var shared: UInt64 = 0

  /// No pages.
  public init() {}
}

extension Checkpoint {
  /// How many of each block's pages are zero, only this checkpoint's, or other checkpoints' too.
  ///
  /// Reads the manifests of all listed checkpoints.
  public func pageStatistics() throws(StoreError) -> [PageStatistics] {
    let others = try store.referencedPages { $0.info.id != self.info.id }
    var all: [PageStatistics] = []
    for block in blocks.indices {
      var sum = PageStatistics()
      try manifest.forEachPage(
        block: block,
        { (_, reference) throws(StoreError) in
          if reference == .zero {
            sum.zero += 1
          } else if reference.number < UInt64(others.count), others[Int(reference.number)] {
            sum.shared += 1
          } else {
            sum.unique += 1
          }
        }, failed: { (error) throws(StoreError) in throw error })
      all.append(sum)
    }
    return all
  }

  /// How many of a block's pages are zero, only this checkpoint's, or other checkpoints' too.
  public func pageStatistics(block: Int) throws(StoreError) -> PageStatistics {
    try check(block, 0, 0)
    return try pageStatistics()[block]
  }
}

extension Store {
  /// The numbers of all pages that some listed checkpoints refer to.
  func referencedPages(
    _ isWanted: (CatalogueRow) -> Bool
  ) throws(StoreError) -> AtomicBits {
    let rows = try catalogue.rows()
    let bits = AtomicBits(count: Int(try catalogue.head().tableLength) + 1)
    for row in rows where isWanted(row) {
      guard
        let manifest = try Manifest.open(
          layout.manifest(row.info.id), name: row.info.name, digest: row.manifestDigest)
      else {
        throw .damaged(
          Damage(
            checkpoint: row.info.name, file: "checkpoints/\(row.info.id).manifest",
            what: "the manifest is missing"))
      }
      try mark(manifest, in: bits)
    }
    return bits
  }

  /// Marks every page that a manifest refers to.
  func mark(_ manifest: Manifest, in bits: AtomicBits) throws(StoreError) {
    for block in manifest.description.info.blocks.indices {
      try manifest.forEachPage(
        block: block,
        { (page, reference) throws(StoreError) in
          guard reference.number < UInt64(bits.count) else {
            throw .damaged(
              Damage(
                checkpoint: manifest.description.info.name,
                block: manifest.description.info.blocks[block].name,
                pageOffset: page * UInt64(storePageSize), file: "pages/table",
                what: "it ends before entry \(reference.number)"))
          }
          bits.set(Int(reference.number))
        }, failed: { (error) throws(StoreError) in throw error })
    }
  }
}
