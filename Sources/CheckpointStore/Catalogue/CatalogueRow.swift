// What a row of the catalogue says, and the digest that proves it was not altered.

import PageHash

/// A checkpoint's row: what is listed, and the manifest that it stands for.
struct CatalogueRow: Hashable, Sendable {
  var info: CheckpointInfo
  /// SHA-256 of the manifest's header page.
  var manifestDigest: ContentHash

  /// The row's content in one order, for its digest.
  func canonicalBytes() -> [UInt8] {
    var bytes: [UInt8] = Array("checkpoint".utf8)
    bytes.appendCounted(info.name)
    bytes.appendCounted(info.id)
    bytes.appendLittleEndian(info.created.bitPattern)
    bytes.appendCounted(info.machine)
    bytes.appendCounted(info.qemuVersion)
    bytes.appendCounted(info.architecture)
    bytes.appendLittleEndian(UInt8(info.parent == nil ? 0 : 1))
    bytes.appendCounted(info.parent ?? "")
    bytes.appendCounted(CatalogueRow.encode(info.blocks))
    for count in [
      info.summary.ramBytes, info.summary.pagesZero, info.summary.pagesNew,
      info.summary.pagesKnown, info.summary.storedBytes,
    ] {
      bytes.appendLittleEndian(count)
    }
    bytes += manifestDigest.bytes
    return bytes
  }

  /// Blocks as bytes: count, then name, length and page size of each.
  static func encode(_ blocks: [CheckpointBlock]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(UInt32(blocks.count))
    for block in blocks {
      bytes.appendCounted(block.name)
      bytes.appendLittleEndian(block.byteCount)
      bytes.appendLittleEndian(block.pageSize)
    }
    return bytes
  }

  /// The blocks that `encode` wrote; nil where the bytes are not that.
  static func decodeBlocks(_ bytes: [UInt8]) -> [CheckpointBlock]? {
    var reader = FieldReader(bytes)
    guard let count = reader.next(UInt32.self), count <= StoreLimits.blocks else { return nil }
    var blocks: [CheckpointBlock] = []
    for _ in 0..<count {
      guard let name = reader.nextText(), let byteCount = reader.next(UInt64.self),
        let pageSize = reader.next(UInt64.self)
      else { return nil }
      blocks.append(CheckpointBlock(name: name, byteCount: byteCount, pageSize: pageSize))
    }
    return reader.offset == bytes.count ? blocks : nil
  }
}

/// The catalogue's own row: how far the page table counts.
struct CatalogueHead: Hashable, Sendable {
  /// The store's identity, 32 hexadecimal digits.
  var storeID: String
  /// Entries of the page table that count.
  var tableLength: UInt64
  /// Publications and collections so far: the slots say up to which they are whole.
  var serial: UInt64
  /// Numbers of the free list that are still free, from its beginning.
  var freeCount: UInt64
  /// SHA-256 of the whole free list.
  var freeDigest: ContentHash

  func canonicalBytes() -> [UInt8] {
    var bytes: [UInt8] = Array("store".utf8)
    bytes.appendCounted(storeID)
    bytes.appendLittleEndian(tableLength)
    bytes.appendLittleEndian(serial)
    bytes.appendLittleEndian(freeCount)
    bytes += freeDigest.bytes
    return bytes
  }
}
