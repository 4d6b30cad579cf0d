// The order in which guests needed a checkpoint's pages: a file beside the manifest.

import Glibc
import PageHash

extension Checkpoint {
  private static let magic: [UInt8] = Array("GWORDER2".utf8)
  /// Files of the first format hold requests only.
  private static let firstMagic: [UInt8] = Array("GWORDER1".utf8)
  private static let digestByteCount = 32

  /// What earlier restores teach about the order of need; empty if there were none.
  ///
  /// It is only advice: a damaged record counts as none (`verify` reports it).
  public var demandRecord: DemandRecord {
    ((try? loadDemandRecord()) ?? nil) ?? DemandRecord()
  }

  /// The record; nil where there is none.
  func loadDemandRecord() throws(StoreError) -> DemandRecord? {
    let path = store.layout.demandOrder(info.id)
    guard Folder.exists(path) else { return nil }
    let damage = StoreError.damaged(
      Damage(
        checkpoint: info.name, file: "checkpoints/\(info.id).order",
        what: "the demand order is not what was written"))
    let file = try File.open(path, O_RDONLY)
    let size = try file.byteCount()
    guard size >= 48, size <= UInt64(StoreLimits.demandRecordBytes) else { throw damage }
    let bytes = try file.read(count: Int(size), at: 0)
    guard bytes.count == Int(size) else { throw damage }
    let body = Array(bytes.dropLast(Self.digestByteCount))
    var digest = FieldReader(bytes, from: body.count)
    guard digest.nextHash() == (try Digester.make().hash(body)), let record = parse(body) else {
      throw damage
    }
    return record
  }

  private func parse(_ body: [UInt8]) -> DemandRecord? {
    var reader = FieldReader(body, from: 8)
    let isFirstFormat = Array(body[0..<8]) == Self.firstMagic
    guard isFirstFormat || Array(body[0..<8]) == Self.magic,
      let requestCount = reader.next(UInt64.self),
      let runCount = isFirstFormat ? 0 : reader.next(UInt64.self)
    else { return nil }
    let room = UInt64(body.count - reader.offset)
    let requestSize: UInt64 = isFirstFormat ? 8 : 16
    guard requestCount <= room / requestSize, runCount <= room / 16,
      requestCount * requestSize + runCount * 16 == room
    else { return nil }
    var record = DemandRecord()
    record.requested.reserveCapacity(Int(requestCount))
    record.brought.reserveCapacity(Int(runCount))
    for _ in 0..<requestCount {
      guard let page = reader.next(UInt64.self).flatMap(page(_:)),
        let before = isFirstFormat ? 0 : reader.next(UInt64.self)
      else { return nil }
      record.requested.append(RequestedPage(page: page, broughtBefore: before))
    }
    for _ in 0..<runCount {
      guard let first = reader.next(UInt64.self).flatMap(page(_:)),
        let count = reader.next(UInt64.self)
      else { return nil }
      let run = BroughtPages(first: first, pageCount: count)
      guard contains(run) else { return nil }
      record.brought.append(run)
    }
    return record
  }

  private func page(_ word: UInt64) -> PageName? {
    let page = PageName(
      block: Int(word >> 48), offset: (word & 0xFFFF_FFFF_FFFF) * UInt64(storePageSize))
    return contains(page) ? page : nil
  }

  private func contains(_ page: PageName) -> Bool {
    blocks.indices.contains(page.block) && page.offset < blocks[page.block].byteCount
  }

  private func contains(_ run: BroughtPages) -> Bool {
    guard run.pageCount > 0, contains(run.first) else { return false }
    let left = blocks[run.first.block].byteCount - run.first.offset
    return run.pageCount <= (left + UInt64(storePageSize) - 1) / UInt64(storePageSize)
  }

  private static func word(_ page: PageName) -> UInt64 {
    UInt64(page.block) << 48 | page.offset / UInt64(storePageSize)
  }

  /// Keeps what a restore taught for the next one; replaces what was kept before.
  ///
  /// - Parameter record: pages of this checkpoint; an offset inside a page stands for its
  ///   beginning.
  public func record(_ record: DemandRecord) throws(StoreError) {
    let byteCount = record.requested.count * 16 + record.brought.count * 16 + 24
    guard byteCount + Self.digestByteCount <= StoreLimits.demandRecordBytes else {
      throw .invalidRequest("a demand order of \(byteCount) bytes is longer than a store keeps.")
    }
    let strayed =
      record.requested.first { !contains($0.page) }?.page
      ?? record.brought.first { !contains($0) }?.first
    if let strayed {
      throw .invalidRequest(
        "a demand order names offset \(strayed.offset) of RAM block number \(strayed.block), "
          + "which \"\(info.name)\" does not have.")
    }
    var bytes = Checkpoint.magic
    bytes.reserveCapacity(byteCount + Self.digestByteCount)
    bytes.appendLittleEndian(UInt64(record.requested.count))
    bytes.appendLittleEndian(UInt64(record.brought.count))
    for request in record.requested {
      bytes.appendLittleEndian(Self.word(request.page))
      bytes.appendLittleEndian(request.broughtBefore)
    }
    for run in record.brought {
      bytes.appendLittleEndian(Self.word(run.first))
      bytes.appendLittleEndian(run.pageCount)
    }
    bytes += try Digester.make().hash(bytes).bytes
    try Folder.replace(store.layout.demandOrder(info.id), with: bytes)
  }
}
