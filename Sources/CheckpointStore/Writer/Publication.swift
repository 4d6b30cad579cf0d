// The one moment in which a save becomes a checkpoint: numbers for its pages, a manifest, a commit.

import Glibc
import PageHash

/// Publishes a session, with the publish lock held.
///
/// Order: packs are durable already; table entries, then the manifest, are made durable; the
/// catalogue's commit lists the checkpoint and says how far the table counts; last, the slots learn
/// the new pages. A crash before the commit leaves what nobody counts, one after it slots that the
/// next save rebuilds.
struct Publication {
  let store: Store
  let session: WriterSession
  let id = newIdentity()
  let name: String
  let parent: String?
  let blocks: [CheckpointBlock]
  /// The publication up to which the session's lookups were whole.
  let startSerial: UInt64

  private static let tableStep = 4096
  /// Marks, in the remap file, a page that this publication adds.
  private static let newBit: UInt64 = 1 << 63

  /// What the session's references come to.
  private struct Census {
    var used: AtomicBits
    var usedCount: UInt64 = 0
    var zero: UInt64 = 0
    var stored: UInt64 = 0
  }

  /// Where the new pages' entries go.
  private struct Numbering {
    var head: CatalogueHead
    var free: FreeList
    var appended: [PageEntry] = []
    var newCount: UInt64 = 0
    var storedBytes: UInt64 = 0
  }

  /// Lists the checkpoint.
  func run(_ state: CheckpointState) throws(StoreError) -> CheckpointSummary {
    let head = try store.catalogue.head()
    if try store.catalogue.row(named: name) != nil { throw .nameTaken(name) }
    let census = try takeCensus()
    let free = try FreeList.load(store.layout.free, head)
    let slots = try store.prepareSlots(head, room: census.usedCount)
    let remap = try makeRemap()
    var numbering = Numbering(head: head, free: free)
    try number(census, slots, remap, &numbering)
    try store.index.table.file.sync()

    let pages = blocks.reduce(0) { $0 + $1.byteCount / UInt64(storePageSize) }
    let summary = CheckpointSummary(
      ramBytes: pages * UInt64(storePageSize), pagesZero: census.zero,
      pagesNew: numbering.newCount, pagesKnown: pages - census.zero - numbering.newCount,
      storedBytes: numbering.storedBytes)
    let info = CheckpointInfo(
      name: name, id: id, created: wallClockSeconds(), machine: state.machine,
      qemuVersion: state.qemuVersion,
      architecture: state.architecture, parent: parent, blocks: blocks, summary: summary)
    do throws(StoreError) {
      let digest = try writeManifest(
        store.layout.manifest(id), ManifestDescription(info: info, state: state), remap)
      slots.serial = 0
      try slots.sync()
      numbering.head.serial += 1
      numbering.head.freeCount = UInt64(numbering.free.numbers.count)
      try store.catalogue.commit(
        numbering.head, adding: CatalogueRow(info: info, manifestDigest: digest))
    } catch {
      slots.serial = head.serial
      throw error
    }
    // Listed. What follows only spares the next save work: a failure here is not one of this save.
    try? insert(slots, remap, serial: numbering.head.serial)
    try? freeUnused(remap)
    return summary
  }

  /// Whether the catalogue may list this checkpoint: after a failure, what belongs to it is removed
  /// only if it surely does not.
  func mayBeListed() -> Bool {
    do throws(StoreError) {
      return try store.catalogue.row(named: name)?.info.id == id
    } catch {
      return true
    }
  }

  /// Which of the session's pages are still referred to, and how many pages are zero.
  private func takeCensus() throws(StoreError) -> Census {
    var census = Census(used: AtomicBits(count: Int(session.count) + 1))
    forEachWord { word in
      switch word.meaning {
      case .zero: census.zero += 1
      case .stored: census.stored += 1
      case .session(let number):
        census.stored += 1
        if number < UInt64(census.used.count), census.used.set(Int(number)) {
          census.usedCount += 1
        }
      case .pending: break
      }
    }
    return census
  }

  private func forEachWord(_ body: (SessionWord) -> Void) {
    var first = 0
    for block in blocks {
      let pages = Int(block.byteCount / UInt64(storePageSize))
      for page in 0..<pages {
        if page % ManifestLayout.chunkWords == 0 { session.words.noteAccess() }
        body(SessionWord(rawValue: session.words[first + page]))
      }
      first += Int(ManifestLayout.chunkCount(block)) * ManifestLayout.chunkWords
    }
  }

  private func makeRemap() throws(StoreError) -> MappedWords {
    let count = Int(session.count) + 1
    let file = try File.open(
      session.folder + "/numbers", O_RDWR | O_CREAT | O_TRUNC, doing: "making the page numbers")
    try file.allocate(byteCount: UInt64(count) * 8)
    return try MappedWords(file, count: count, writable: true)
  }

  /// Gives every page that is needed its number in the store's table: that of an equal page that
  /// another save has published meanwhile, a freed number, or the next.
  private func number(
    _ census: Census, _ slots: SlotFile, _ remap: MappedWords, _ numbering: inout Numbering
  ) throws(StoreError) {
    let table = store.index.table
    let isAlone = numbering.head.serial == startSerial
    try session.entries.forEach(upTo: session.count) { (number, entry) throws(StoreError) in
      guard census.used[Int(number)] else { return }
      remap.noteAccess()
      if !isAlone,
        let known = try slots.find(
          entry.hash, { (other) throws(StoreError) in try table.entry(other).hash == entry.hash })
      {
        remap[Int(number)] = known.rawValue
        return
      }
      let assigned: UInt64
      if let freed = numbering.free.take() {
        assigned = freed
        try table.write([entry], from: freed)
      } else {
        numbering.head.tableLength += 1
        assigned = numbering.head.tableLength
        numbering.appended.append(entry)
        if numbering.appended.count == Publication.tableStep { try flush(&numbering) }
      }
      guard assigned < PageReference.numberLimit else {
        throw .invalidRequest("the store holds as many pages as its format can number.")
      }
      numbering.newCount += 1
      numbering.storedBytes += UInt64(entry.location.length)
      remap[Int(number)] =
        PageReference(number: assigned, hash: entry.hash).rawValue
        | Publication.newBit
    }
    try flush(&numbering)
  }

  private func flush(_ numbering: inout Numbering) throws(StoreError) {
    let first = numbering.head.tableLength - UInt64(numbering.appended.count) + 1
    try store.index.table.write(numbering.appended, from: first)
    numbering.appended.removeAll(keepingCapacity: true)
  }

  private func writeManifest(
    _ path: String, _ description: ManifestDescription, _ remap: MappedWords
  ) throws(StoreError) -> ContentHash {
    let writer = try ManifestWriter(
      path, description: description, id: identityBytes(description.info.id))
    var first = 0
    for block in blocks {
      let pages = Int(block.byteCount / UInt64(storePageSize))
      for chunk in 0..<Int(ManifestLayout.chunkCount(block)) {
        session.words.noteAccess()
        var references = [UInt64](repeating: 0, count: ManifestLayout.chunkWords)
        let start = chunk * ManifestLayout.chunkWords
        for page in start..<min(start + ManifestLayout.chunkWords, pages) {
          references[page - start] = try reference(session.words[first + page], remap).rawValue
        }
        try writer.append(references)
      }
      first += Int(ManifestLayout.chunkCount(block)) * ManifestLayout.chunkWords
    }
    let digest = try writer.finish()
    try Folder.sync(store.layout.checkpoints)
    return digest
  }

  private func reference(
    _ raw: UInt64, _ remap: MappedWords
  ) throws(StoreError) -> PageReference {
    switch SessionWord(rawValue: raw).meaning {
    case .zero: return .zero
    case .stored(let reference): return reference
    case .session(let number):
      remap.noteAccess()
      let mapped = number < UInt64(remap.count) ? remap[Int(number)] & ~Publication.newBit : 0
      if mapped != 0 { return PageReference(rawValue: mapped) }
    case .pending: break
    }
    throw .damaged(
      Damage(file: "sessions", what: "the save's own page references are not what it wrote"))
  }

  /// Adds the new pages to the slots.
  private func insert(
    _ slots: SlotFile, _ remap: MappedWords, serial: UInt64
  ) throws(StoreError) {
    try session.entries.forEach(upTo: session.count) { (number, entry) throws(StoreError) in
      remap.noteAccess()
      let mapped = remap[Int(number)]
      guard mapped & Publication.newBit != 0 else { return }
      slots.insert(
        entry.hash, number: PageReference(rawValue: mapped & ~Publication.newBit).number)
    }
    try slots.sync()
    slots.serial = serial
  }

  /// Gives back the disk space of pages that this session stored and nobody refers to: overtaken by
  /// later puts, or published by another save meanwhile.
  private func freeUnused(_ remap: MappedWords) throws(StoreError) {
    var ranges: [UInt32: Range<UInt64>] = [:]
    try session.entries.forEach(upTo: session.count) { (number, entry) throws(StoreError) in
      remap.noteAccess()
      guard remap[Int(number)] & Publication.newBit == 0, entry.location.length > 0 else { return }
      let location = entry.location
      if let range = ranges[location.pack], range.upperBound == location.offset {
        ranges[location.pack] = range.lowerBound..<location.end
        return
      }
      if let range = ranges[location.pack] { try punch(location.pack, range) }
      ranges[location.pack] = location.offset..<location.end
    }
    for (pack, range) in ranges { try punch(pack, range) }
  }

  private func punch(_ pack: UInt32, _ range: Range<UInt64>) throws(StoreError) {
    guard range.upperBound - range.lowerBound >= 4096 else { return }
    let file = try File.open(store.packs.path(pack), O_RDWR, doing: "opening a pack")
    _ = try file.punchHole(range)
  }
}
