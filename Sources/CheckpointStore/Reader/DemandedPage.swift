// The order in which a guest asked for its pages, kept beside the manifest.

import Glibc

/// A page that a guest asked for.
public struct DemandedPage: Hashable, Sendable {
  /// Index into the checkpoint's blocks.
  public var block: Int
  /// Byte offset in the block.
  public var offset: UInt64

  /// Names a page.
  public init(block: Int, offset: UInt64) {
    self.block = block
    self.offset = offset
  }
}

extension Checkpoint {
  private static let magic: [UInt8] = Array("GWORDER1".utf8)

  /// The order in which a guest asked for pages at an earlier restore; empty if none was recorded.
  ///
  /// It is only advice: a damaged record counts as none (`verify` reports it).
  public var demandOrder: [DemandedPage] {
    ((try? loadDemandOrder()) ?? nil) ?? []
  }

  /// The record; nil where there is none.
  func loadDemandOrder() throws(StoreError) -> [DemandedPage]? {
    let path = store.layout.demandOrder(info.id)
    guard Folder.exists(path) else { return nil }
    let damage = StoreError.damaged(
      Damage(
        checkpoint: info.name, file: "checkpoints/\(info.id).order",
        what: "the demand order is not what was written"))
    let file = try File.open(path, O_RDONLY)
    let size = try file.byteCount()
    guard size >= 48, size <= UInt64(StoreLimits.demandedPages) * 8 + 48 else { throw damage }
    let bytes = try file.read(count: Int(size), at: 0)
    var tail = FieldReader(bytes, from: bytes.count - 32)
    var reader = FieldReader(bytes, from: 8)
    guard bytes.count == Int(size), Array(bytes[0..<8]) == Checkpoint.magic,
      tail.nextHash() == (try Digester().hash(Array(bytes.dropLast(32)))),
      let count = reader.next(UInt64.self), size % 8 == 0, count == (size - 48) / 8
    else { throw damage }
    var order: [DemandedPage] = []
    order.reserveCapacity(Int(count))
    for _ in 0..<count {
      guard let word = reader.next(UInt64.self) else { throw damage }
      let page = DemandedPage(
        block: Int(word >> 48), offset: (word & 0xFFFF_FFFF_FFFF) * UInt64(storePageSize))
      guard blocks.indices.contains(page.block), page.offset < blocks[page.block].byteCount else {
        throw damage
      }
      order.append(page)
    }
    return order
  }

  /// Keeps the order in which a guest asked for pages for the next restore; replaces the old one.
  ///
  /// - Parameter order: pages of this checkpoint; an offset inside a page stands for its beginning.
  public func recordDemandOrder(_ order: [DemandedPage]) throws(StoreError) {
    guard order.count <= StoreLimits.demandedPages else {
      throw .invalidRequest("a demand order of \(order.count) pages is longer than a store keeps.")
    }
    var bytes = Checkpoint.magic
    bytes.reserveCapacity(order.count * 8 + 48)
    bytes.appendLittleEndian(UInt64(order.count))
    for page in order {
      guard blocks.indices.contains(page.block), page.offset < blocks[page.block].byteCount else {
        throw .invalidRequest(
          "a demand order names offset \(page.offset) of RAM block number \(page.block), which "
            + "\"\(info.name)\" does not have.")
      }
      bytes.appendLittleEndian(
        UInt64(page.block) << 48 | page.offset / UInt64(storePageSize))
    }
    bytes += try Digester().hash(bytes).bytes
    try Folder.replace(store.layout.demandOrder(info.id), with: bytes)
  }
}
