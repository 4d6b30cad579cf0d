// What a worker thread does with a batch: hash, look up, compress, append.

import PageHash

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
    session: WriterSession, index: PageIndex, packs: PackWriter,
    compression: WriterOptions.Compression
  ) throws(StoreError) {
    self.session = session
    self.index = index
    self.packs = packs
    digester = try Digester.make()
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
    var pieces: [BufferPiece] = []
    var lengths: [Int] = []
    var end = 0
    for page in pages {
      let length = compress(page, of: batch, at: end)
      // What did not compress is written from where it lies.
      let piece =
        length.map { BufferPiece(payloads, end..<end + $0) }
        ?? BufferPiece(batch.buffer, range(page))
      if let last = pieces.last, let joined = last.joined(with: piece) {
        pieces[pieces.count - 1] = joined
      } else {
        pieces.append(piece)
      }
      lengths.append(piece.range.count)
      end += length ?? 0
    }
    let written = try packs.append(pieces)
    var offset = written.offset
    for (index, length) in lengths.enumerated() {
      entries[index].location = PageLocation(pack: written.pack, offset: offset, length: length)
      offset += UInt64(length)
    }
  }

  /// Puts a page behind the payloads compressed so far, where that pays; its length then.
  private func compress(
    _ page: Int, of batch: PageBatch, at end: Int
  ) -> Int? {
    guard let codec else { return nil }
    let skip =
      isAdaptive && incompressible >= IngestWorker.patience
      && incompressible % IngestWorker.sampleInterval != 0
    let length =
      skip
      ? nil
      : batch.buffer.withBytes(range(page)) { content in
        payloads.withMutableBytes(end..<end + storePageSize) { room in
          compressor.compress(content, with: codec, into: &room)
        }
      }
    incompressible = length == nil ? incompressible + 1 : 0
    return length
  }
}
