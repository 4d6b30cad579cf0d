// A new catalogue from the manifests, when the old one is damaged.

import Glibc
import PageHash

extension Store {
  /// Makes the catalogue of a store anew from its manifests, which say all that it said.
  ///
  /// For when `verify` finds the catalogue damaged and nothing else will be written. Where the old
  /// rows are sound only those checkpoints are listed again; otherwise every one whose manifest is
  /// sound, which may bring back some that were deleted since the last collect. The old file is
  /// kept as `catalogue.sqlite.damaged`. Stores that are open must be opened again.
  ///
  /// - Returns: the checkpoints that are listed now.
  public static func repairCatalogue(at path: String) throws(StoreError) -> [CheckpointInfo] {
    let layout = StoreLayout(root: path)
    let id = try StoreMarker.check(layout)
    guard let writers = try FileLock.attempt(layout.writersLock, .exclusive) else {
      throw .busy(doing: "making the catalogue of \(path) anew", holders: [])
    }
    let publish = try FileLock.wait(layout.publishLock, .exclusive)
    defer { withExtendedLifetime((writers, publish)) {} }
    let wanted = soundRows(layout)
    let found = try manifests(layout).filter { wanted?.contains($0.info.id) ?? true }
    if Folder.exists(layout.catalogue) {
      try Folder.rename(layout.catalogue, to: layout.catalogue + ".damaged")
    }
    try Folder.removeFile(layout.catalogue + "-journal")
    try Catalogue.create(layout.catalogue, storeID: id)
    let store = try open(at: path, create: false)
    var head = try store.catalogue.head()
    head.tableLength = try store.index.table.entryCount()
    // Of two with one name the newer is the one that was saved after the other was deleted.
    var names: Set<String> = []
    for row in found.sorted(by: { $0.info.created > $1.info.created })
    where names.insert(row.info.name).inserted {
      try store.catalogue.commit(head, adding: row)
    }
    try store.freeUnreferenced()
    return try store.checkpoints()
  }

  /// The identities that the catalogue lists; nil where it cannot be trusted to.
  private static func soundRows(_ layout: StoreLayout) -> Set<String>? {
    guard let survey = try? Catalogue.open(layout.catalogue).survey(), survey.damages.isEmpty else {
      return nil
    }
    return Set(survey.rows.map(\.info.id))
  }

  /// The rows that the sound manifests stand for.
  private static func manifests(_ layout: StoreLayout) throws(StoreError) -> [CatalogueRow] {
    var rows: [CatalogueRow] = []
    for name in try Folder.names(in: layout.checkpoints) where name.hasSuffix(".manifest") {
      let path = layout.checkpoints + "/" + name
      // One that is damaged cannot be listed; it stays where it is until a collect.
      guard let manifest = try? Manifest.open(path, name: name, digest: nil),
        name == manifest.description.info.id + ".manifest"
      else { continue }
      let header = try File.open(path, O_RDONLY).read(count: 4096, at: 0)
      rows.append(
        CatalogueRow(
          info: manifest.description.info, manifestDigest: try Digester.make().hash(header)))
    }
    return rows
  }

  /// Frees what no manifest refers to: without the old catalogue nobody knows which further entries
  /// of the page table were ever published.
  private func freeUnreferenced() throws(StoreError) {
    let live = AtomicBits(count: Int(try catalogue.head().tableLength) + 1)
    for row in try catalogue.rows() {
      guard
        let manifest = try Manifest.open(
          layout.manifest(row.info.id), name: row.info.name, digest: row.manifestDigest)
      else { continue }
      for block in row.info.blocks.indices {
        try manifest.forEachPage(
          block: block,
          { (_, reference) throws(StoreError) in
            if reference.number < UInt64(live.count) { live.set(Int(reference.number)) }
          }, failed: { _ in })
      }
    }
    var report = CollectReport()
    try Collection(store: self, live: live).run(&report) { _ in }
  }
}
