// What a worker thread does with a batch: hash, look up, compress, append.

/// One worker's state.
///
/// One thread uses it.
final class IngestWorker: @unchecked Sendable {
  /// After this many pages in a row that did not compress, only one in `sampleInterval` is tried.
  private static let patience = 32
  private static let sampleInterval = 16

  let packs: PackWriter
  private let session: WriterSession
  private let index: PageIndex
  private let codec: PageCodec.Codec?
  private let isAdaptive: Bool
  private let compressor = PageCodec()
  private let digester: Digester
  private let payloads = PageBuffer(pageCount: PageBatch.pageLimit)
  private var incompressible = 0

  init(
    session: WriterSession, index: PageIndex, packs: PackFiles,
    compression: WriterOptions.Compression
  ) throws(StoreError) {
    self.session = session
    self.index = index
    self.packs = PackWriter(packs)
    digester = try Digester()
    isAdaptive = compression == .automatic
    switch compression {
    case .automatic, .lz4: codec = .lz4
    case .zstd: codec = .zstd
    case .none: codec = nil
    }
  }

  /// Brings a batch's pages into the session and replaces their tickets, unless a later put has.
  func process(_ batch: PageBatch) throws(StoreError) {
    var results = [SessionWord](repeating: .zero, count: batch.count)
    var missing: [Int] = []
    var hashes: [ContentHash] = []
    let lookup = try index.lookup()
    let all = batch.buffer.withBytes(0..<batch.count * storePageSize) { digester.hashPages($0) }
    for (page, hash) in all.enumerated() {
      if let reference = try lookup.find(hash) {
        results[page] = .stored(reference)
      } else {
        missing.append(page)
        hashes.append(hash)
      }
    }
    if !missing.isEmpty {
      let assignments = try session.assign(hashes)
      var fresh: [Int] = []
      var entries: [PageEntry] = []
      for (place, assignment) in assignments.enumerated() {
        results[missing[place]] = .session(assignment.number)
        guard assignment.isNew else { continue }
        fresh.append(missing[place])
        entries.append(PageEntry(hash: hashes[place], location: PageLocation(rawValue: 0)))
      }
      if let first = assignments.first(where: { $0.isNew }) {
        try store(fresh, of: batch, &entries)
        try session.entries.write(entries, from: first.number)
      }
    }
    for page in 0..<batch.count {
      // A ticket that is not there any more has been overtaken by a later put.
      _ = session.words.exchange(
        batch.words[page], expected: batch.ticket(page).rawValue,
        desired: results[page].rawValue)
    }
  }

  private func range(_ page: Int) -> Range<Int> {
    page * storePageSize..<(page + 1) * storePageSize
  }

  /// Appends pages to the pack and notes in their entries where they are.
  private func store(
    _ pages: [Int], of batch: PageBatch, _ entries: inout [PageEntry]
  ) throws(StoreError) {
    guard let codec else {
      try storePlain(pages, of: batch, &entries)
      return
    }
    var end = 0
    var places: [(start: Int, length: Int)] = []
    for page in pages {
      let length = compress(page, of: batch, with: codec, at: end)
      places.append((end, length))
      end += length
    }
    let written = try payloads.withBytes(0..<end) { (bytes) throws(StoreError) in
      try packs.append(bytes)
    }
    for (index, place) in places.enumerated() {
      entries[index].location = PageLocation(
        pack: written.pack, offset: written.offset + UInt64(place.start), length: place.length)
    }
  }

  /// Puts a page behind the payloads collected so far, compressed where that pays; its length.
  private func compress(
    _ page: Int, of batch: PageBatch, with codec: PageCodec.Codec, at end: Int
  ) -> Int {
    let skip =
      isAdaptive && incompressible >= IngestWorker.patience
      && incompressible % IngestWorker.sampleInterval != 0
    return batch.buffer.withBytes(range(page)) { content in
      if !skip {
        let length = payloads.withMutableBytes(end..<end + storePageSize) { room in
          compressor.compress(content, with: codec, into: &room)
        }
        if let length {
          incompressible = 0
          return length
        }
      }
      incompressible += 1
      payloads.copy(content, at: end)
      return storePageSize
    }
  }

  /// Appends pages as they are, neighbours in one write.
  private func storePlain(
    _ pages: [Int], of batch: PageBatch, _ entries: inout [PageEntry]
  ) throws(StoreError) {
    var start = 0
    while start < pages.count {
      var end = start + 1
      while end < pages.count && pages[end] == pages[end - 1] + 1 { end += 1 }
      let bytes = pages[start] * storePageSize..<(pages[end - 1] + 1) * storePageSize
      let written = try batch.buffer.withBytes(bytes) { (run) throws(StoreError) in
        try packs.append(run)
      }
      for index in start..<end {
        entries[index].location = PageLocation(
          pack: written.pack, offset: written.offset + UInt64((index - start) * storePageSize),
          length: storePageSize)
      }
      start = end
    }
  }
}
