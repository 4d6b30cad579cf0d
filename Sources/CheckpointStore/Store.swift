// A folder of checkpoints: opening it, what it lists, beginning and deleting checkpoints.

import Glibc

/// A store of checkpoints in a folder; any number of threads and processes may use one at once.
public final class Store: Sendable {
  /// The folder.
  public let path: String

  let layout: StoreLayout
  let catalogue: Catalogue
  let index: PageIndex
  let packs: PackFiles
  let source: PageSource

  private init(_ layout: StoreLayout) throws(StoreError) {
    self.layout = layout
    path = layout.root
    catalogue = try Catalogue.open(layout.catalogue)
    let table = try PageTable.open(layout.table)
    index = PageIndex(table: table, slotsPath: layout.slots)
    packs = PackFiles(folder: layout.packs)
    source = PageSource(table: table, packs: packs)
  }

  /// Opens the store in a folder.
  ///
  /// - Parameters:
  ///   - path: the folder.
  ///   - create: whether to make a store where there is none (the folder missing or empty).
  public static func open(at path: String, create: Bool = true) throws(StoreError) -> Store {
    var root = path
    while root.count > 1 && root.hasSuffix("/") { root.removeLast() }
    let layout = StoreLayout(root: root)
    if !Folder.exists(layout.marker) {
      guard create else {
        throw .notAStore(path: root, reason: "there is no store there")
      }
      try StoreMarker.make(layout)
    }
    _ = try StoreMarker.check(layout)
    return try Store(layout)
  }

  /// The listed checkpoints, oldest first.
  public func checkpoints() throws(StoreError) -> [CheckpointInfo] {
    try catalogue.rows().map(\.info)
  }

  /// Opens a listed checkpoint for reading; the cost does not depend on how much RAM it has.
  public func checkpoint(named name: String) throws(StoreError) -> Checkpoint {
    guard let row = try catalogue.row(named: name) else {
      throw .noSuchCheckpoint(name, store: path)
    }
    guard
      let manifest = try Manifest.open(
        layout.manifest(row.info.id), name: name, digest: row.manifestDigest)
    else {
      // Deleted and collected in between, or a file that somebody removed.
      guard try catalogue.row(named: name) != nil else {
        throw .noSuchCheckpoint(name, store: path)
      }
      throw .damaged(
        Damage(
          checkpoint: name, file: "checkpoints/\(row.info.id).manifest",
          what: "the manifest is missing"))
    }
    return Checkpoint(store: self, row: row, manifest: manifest)
  }

  /// Begins a save; a name that is taken or unusable is refused, and reserved only by `seal`.
  ///
  /// Waits while a collect is going on.
  public func beginCheckpoint(
    named name: String, options: WriterOptions = WriterOptions()
  ) throws(StoreError) -> CheckpointWriter {
    try Store.validate(name)
    if try catalogue.row(named: name) != nil { throw .nameTaken(name) }
    let lock = try FileLock.wait(layout.writersLock, .shared)
    let serial = try withPublishLock { () throws(StoreError) in
      if let damage = try catalogue.checkSeal() { throw .damaged(damage) }
      let head = try catalogue.head()
      _ = try prepareSlots(head, room: 0)
      return head.serial
    }
    return CheckpointWriter(
      store: self, name: name, options: options, writersLock: lock, startSerial: serial)
  }

  /// Takes checkpoints off the list, all or none; their pages are freed by the next `collect`.
  public func delete(_ names: [String]) throws(StoreError) {
    try withPublishLock { () throws(StoreError) in
      let head = try catalogue.head()
      let listed = Set(try catalogue.survey().rows.map(\.info.name))
      for name in names where !listed.contains(name) {
        throw .noSuchCheckpoint(name, store: path)
      }
      try catalogue.commit(head, removing: names)
    }
  }

  /// What the store takes on disk.
  public func usage() throws(StoreError) -> StoreUsage {
    var usage = StoreUsage()
    usage.packs = try Folder.allocatedByteCount(layout.packs)
    usage.index = try Folder.allocatedByteCount(layout.root + "/pages")
    usage.manifests = try Folder.allocatedByteCount(layout.checkpoints)
    usage.images = try Folder.allocatedByteCount(layout.images)
    usage.sessions = try Folder.allocatedByteCount(layout.sessions)
    usage.catalogue = try File.open(layout.catalogue, O_RDONLY).allocatedByteCount()
    usage.storedPages = try index.current()?.count ?? 0
    return usage
  }

  /// Runs `body` as the only one that changes the catalogue and the index.
  func withPublishLock<R>(_ body: () throws(StoreError) -> R) throws(StoreError) -> R {
    let lock = try FileLock.wait(layout.publishLock, .exclusive)
    defer { withExtendedLifetime(lock) {} }
    return try body()
  }

  /// The slots, whole and with room; the publish lock is held.
  func prepareSlots(
    _ head: CatalogueHead, room: UInt64
  ) throws(StoreError) -> SlotFile {
    try index.prepare(head, room: room) { () throws(StoreError) in
      try FreeList.bits(layout.free, head)
    }
  }

  /// Refuses what cannot be a checkpoint's name.
  static func validate(_ name: String) throws(StoreError) {
    func refuse(_ reason: String) -> StoreError { .invalidName(name, reason: reason) }
    if name.isEmpty { throw refuse("it is empty") }
    if name.utf8.count > StoreLimits.nameBytes {
      throw refuse("it is longer than \(StoreLimits.nameBytes) bytes")
    }
    if name.hasPrefix("-") { throw refuse("it begins with \"-\", as options do") }
    if name.hasPrefix(".") { throw refuse("it begins with a dot") }
    if name.contains("/") { throw refuse("it contains a slash") }
    if name.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
      throw refuse("it contains a control character")
    }
    if name.hasPrefix(" ") || name.hasSuffix(" ") { throw refuse("it begins or ends with a space") }
  }
}
