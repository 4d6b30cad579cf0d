// A collect's work on packs, page table and slots, once it is known which pages live.

import Glibc

/// Frees the pages that are not live.
///
/// The writers' lock and the publish lock are held exclusively.
///
/// Order: live pages of sparse packs are copied and made durable, then their entries point to the
/// copies; entries of dead pages are freed; the free list is written; the catalogue commits; the
/// slots are rebuilt; last, packs go. A crash in between leaves copies or holes that the next
/// collect finds.
struct Collection {
  let store: Store
  /// The numbers of the pages that are needed.
  let live: AtomicBits

  /// Pages of packs looked at in one pass over the table: 64 MiB of memory.
  private static let pagesPerPass: UInt64 = 1 << 21
  /// A pack is compacted if less than this part of what it takes on disk is live.
  private static let sparseDivisor: UInt64 = 2

  private struct PackUse {
    var livePages: UInt64 = 0
    var liveBytes: UInt64 = 0
  }

  /// A live page and where it is.
  private struct Place {
    var location: PageLocation
    var number: UInt64
  }

  func run(
    _ report: inout CollectReport, _ progress: (StoreProgress) -> Void
  ) throws(StoreError) {
    let head = try store.catalogue.head()
    var use: [UInt32: PackUse] = [:]
    var dead: UInt64 = 0
    try store.index.table.forEach(upTo: head.tableLength) { (number, entry) throws(StoreError) in
      if live[Int(number)] {
        use[entry.location.pack, default: PackUse()].livePages += 1
        use[entry.location.pack, default: PackUse()].liveBytes += UInt64(entry.location.length)
        report.pagesLive += 1
      } else if !entry.isFree {
        dead += 1
      }
    }
    report.pagesFreed = dead
    let numbers = try store.packs.numbers()
    var doomed = numbers.filter { use[$0] == nil }
    doomed += try tidy(numbers.filter { use[$0] != nil }, use, &report, progress)
    try freeEntries(head)
    for number in doomed {
      store.packs.forget(number)
      try Folder.removeFile(store.packs.path(number))
      report.packsRemoved += 1
    }
    progress(StoreProgress(done: UInt64(numbers.count), total: UInt64(numbers.count)))
  }

  /// Goes through the packs that hold live pages, as many at a time as fit in memory.
  ///
  /// - Returns: packs whose pages were all moved.
  private func tidy(
    _ numbers: [UInt32], _ use: [UInt32: PackUse], _ report: inout CollectReport,
    _ progress: (StoreProgress) -> Void
  ) throws(StoreError) -> [UInt32] {
    var moved: [UInt32] = []
    var group: [UInt32: [Place]] = [:]
    var pages: UInt64 = 0
    let writer = PackWriter(store.packs)
    var done: UInt64 = 0
    for (index, number) in numbers.enumerated() {
      group[number] = []
      pages += use[number]?.livePages ?? 0
      guard pages >= Collection.pagesPerPass || index == numbers.count - 1 else { continue }
      try fill(&group)
      var copies: [Place] = []
      for (pack, places) in group.sorted(by: { $0.key < $1.key }) {
        let sorted = places.sorted { $0.location.offset < $1.location.offset }
        let file = try File.open(store.packs.path(pack), O_RDWR, doing: "opening a pack")
        let taken = try file.allocatedByteCount()
        let liveBytes = use[pack]?.liveBytes ?? 0
        if liveBytes * Collection.sparseDivisor + PackFiles.headerSize < taken {
          if try hollow(sorted, file) * Collection.sparseDivisor < taken - liveBytes {
            try copy(sorted, from: file, with: writer, &copies)
            moved.append(pack)
            report.packsCompacted += 1
          }
        } else if liveBytes + PackFiles.headerSize < taken {
          _ = try hollow(sorted, file)
        }
        done += 1
        progress(StoreProgress(done: done, total: UInt64(numbers.count)))
      }
      try writer.sync()
      for copy in copies { try store.index.table.move(copy.number, to: copy.location) }
      group = [:]
      pages = 0
    }
    try store.index.table.file.sync()
    return moved
  }

  /// Finds the live pages of a group of packs.
  private func fill(_ group: inout [UInt32: [Place]]) throws(StoreError) {
    let length = UInt64(live.count - 1)
    try store.index.table.forEach(upTo: length) { (number, entry) throws(StoreError) in
      guard live[Int(number)], group[entry.location.pack] != nil else { return }
      group[entry.location.pack]?.append(Place(location: entry.location, number: number))
    }
  }

  /// Gives back the blocks between live pages and behind the last.
  ///
  /// - Returns: the bytes given back.
  private func hollow(_ places: [Place], _ file: File) throws(StoreError) -> UInt64 {
    var freed: UInt64 = 0
    var end = PackFiles.headerSize
    for place in places {
      if place.location.offset > end { freed += try file.punchHole(end..<place.location.offset) }
      end = max(end, place.location.end)
    }
    let size = try file.byteCount()
    if size > end {
      try file.truncate(to: end)
      freed += size - end
    }
    return freed
  }

  /// Copies live pages behind each other, and notes where the copies are.
  private func copy(
    _ places: [Place], from file: File, with writer: PackWriter, _ copies: inout [Place]
  ) throws(StoreError) {
    for place in places {
      let bytes = try file.read(count: place.location.length, at: place.location.offset)
      guard bytes.count == place.location.length else {
        throw .damaged(
          Damage(
            file: Manifest.relative(file.path), what: "it ends before page \(place.number)"))
      }
      let copy = try writer.append(bytes)
      copies.append(
        Place(
          location: PageLocation(
            pack: copy.pack, offset: copy.offset, length: place.location.length),
          number: place.number))
    }
  }

  /// Frees the entries of pages that are not live, and lists their numbers for the next save.
  private func freeEntries(_ head: CatalogueHead) throws(StoreError) {
    let table = store.index.table
    let slots = try store.index.current()
    slots?.serial = 0
    try slots?.sync()
    var length = head.tableLength
    while length > 0 && !live[Int(length)] { length -= 1 }
    var free: [UInt64] = []
    var run: (first: UInt64, count: Int) = (1, 0)
    try table.forEach(upTo: head.tableLength) { (number, entry) throws(StoreError) in
      guard !live[Int(number)] else { return }
      if number <= length && free.count < FreeList.limit { free.append(number) }
      guard !entry.isFree else { return }
      if run.count > 0 && (run.first + UInt64(run.count) != number || run.count == 4096) {
        try table.write([PageEntry](repeating: .free, count: run.count), from: run.first)
        run = (number, 0)
      }
      if run.count == 0 { run.first = number }
      run.count += 1
    }
    try table.write([PageEntry](repeating: .free, count: run.count), from: run.first)
    try table.file.sync()
    var next = head
    next.tableLength = length
    next.serial += 1
    next.freeCount = UInt64(free.count)
    next.freeDigest = try FreeList.write(store.layout.free, free)
    try store.catalogue.commit(next)
    try table.file.truncate(to: PageTable.byteCount(length: length))
    _ = try store.prepareSlots(next, room: 0)
  }
}
