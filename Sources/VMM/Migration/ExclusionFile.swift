// The file in which an operator says which pages need not travel: Docs/Formats/Exclusion.md.

import GuestMemory

/// Reads files of excluded pages, each checked against the machine that they are for.
enum ExclusionFile {
  /// What a file with a header begins with.
  static let magic = [UInt8]("GODWITXB".utf8)
  static let version: UInt32 = 1
  private static let headerByteCount = 16

  /// Reads a file.
  ///
  /// - Parameters:
  ///   - path: where it is.
  ///   - ram: the machine's RAM.
  /// - Returns: the pages, as runs in ascending order.
  /// - Throws: ``MachineError`` with what is wrong with the file.
  static func read(_ path: String, for ram: RAMList) throws(MachineError) -> [RAMRange] {
    let blocks = ram.blocks.filter(\.isMigratable)
    // A header, a name and a bit a page: what is longer is for no machine of this size.
    let limit = blocks.reduce(headerByteCount) { $0 + bitmapByteCount(of: $1) + 10 + 255 }
    let bytes: [UInt8]
    do throws(MachineError) {
      bytes = try BootFile.read(path, limit: limit)
    } catch {
      guard case .boot(_, let reason) = error else { throw error }
      throw .exclusion(path: path, reason: reason)
    }
    return try parse(bytes, path, blocks)
  }

  private static func bitmapByteCount(of block: RAMBlock) -> Int { (block.pageCount + 7) / 8 }

  /// Takes a file apart.
  static func parse(
    _ bytes: [UInt8], _ path: String, _ blocks: [RAMBlock]
  ) throws(MachineError) -> [RAMRange] {
    func failed(_ reason: String) -> MachineError { .exclusion(path: path, reason: reason) }
    guard bytes.starts(with: magic) else {
      guard let block = blocks.first, blocks.count == 1 else {
        throw failed(
          "it does not begin with GODWITXB, and only a machine with one RAM block takes a bitmap "
            + "without a header")
      }
      let expected = bitmapByteCount(of: block)
      guard bytes.count == expected else {
        throw failed(
          "it does not begin with GODWITXB, and has \(bytes.count) bytes: a bitmap of "
            + "'\(block.name)' has \(expected), one bit for each of its \(block.pageCount) pages")
      }
      return runs(of: bytes[...], block)
    }
    var reader = Reader(bytes: bytes, offset: magic.count)
    guard let found = reader.number(4), let count = reader.number(4) else {
      throw failed("it ends within its header")
    }
    guard found == UInt64(version) else {
      throw failed("it is of version \(found) of the format, and this build reads \(version)")
    }
    var named: [(block: RAMBlock, bitmap: ArraySlice<UInt8>)] = []
    for _ in 0..<count {
      let (block, bitmap) = try entry(&reader, blocks, path)
      guard !named.contains(where: { $0.block === block }) else {
        throw failed("it has the block '\(block.name)' twice")
      }
      named.append((block, bitmap))
    }
    guard reader.offset == bytes.count else {
      throw failed("\(bytes.count - reader.offset) bytes stand behind its last block")
    }
    named.sort { $0.block.ramOffset < $1.block.ramOffset }
    return named.flatMap { runs(of: $0.bitmap, $0.block) }
  }

  /// Reads what stands there for one block.
  private static func entry(
    _ reader: inout Reader, _ blocks: [RAMBlock], _ path: String
  ) throws(MachineError) -> (RAMBlock, ArraySlice<UInt8>) {
    func failed(_ reason: String) -> MachineError { .exclusion(path: path, reason: reason) }
    guard let nameCount = reader.number(2), let nameBytes = reader.bytes(Int(nameCount)),
      let length = reader.number(8)
    else { throw failed("it ends within the description of a block, after \(reader.offset) bytes") }
    let name = String(decoding: nameBytes, as: UTF8.self)
    guard let block = blocks.first(where: { $0.name == name }) else {
      throw failed(
        "it has a block '\(name)', and this machine's are "
          + blocks.map { "'\($0.name)'" }.joined(separator: ", "))
    }
    guard length == UInt64(block.byteCount) else {
      throw failed(
        "its block '\(name)' has \(length) bytes, and this machine's has \(block.byteCount)")
    }
    guard let bitmap = reader.bytes(bitmapByteCount(of: block)) else {
      throw failed("it ends within the bitmap of the block '\(name)'")
    }
    return (block, bitmap)
  }

  /// The pages that a bitmap names: bit i % 8 of byte i / 8 is page i.
  private static func runs(of bitmap: ArraySlice<UInt8>, _ block: RAMBlock) -> [RAMRange] {
    var runs: [RAMRange] = []
    let base = block.ramRange.pages.lowerBound
    var start: Int?
    for page in 0...block.pageCount {
      let isSet =
        page < block.pageCount
        && bitmap[bitmap.startIndex + page / 8] >> UInt8(page % 8) & 1 == 1
      if isSet, start == nil { start = page }
      if !isSet, let first = start {
        runs.append(RAMRange(pages: base + first..<base + page))
        start = nil
      }
    }
    return runs
  }

  /// Little-endian numbers and bytes, one after the other; nil beyond the end.
  private struct Reader {
    let bytes: [UInt8]
    var offset: Int

    mutating func number(_ count: Int) -> UInt64? {
      bytes(count)?.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func bytes(_ count: Int) -> ArraySlice<UInt8>? {
      guard count <= bytes.count - offset else { return nil }
      defer { offset += count }
      return bytes[offset..<offset + count]
    }
  }
}
