// Numbers of the page table that a collect has freed, for the next pages to take.

import PageHash

/// The file `pages/free`: 64-bit numbers, of which the first `CatalogueHead.freeCount` are free.
///
/// The catalogue holds its digest, because a flipped number in it would let a new page take the
/// place of one that is needed. A list that does not fit its digest is not used.
struct FreeList {
  /// No more numbers than this are listed (16 MiB); the rest waits for the next collect.
  static let limit = 1 << 21

  private(set) var numbers: [UInt64]

  /// The free numbers, or none if there is no sound list.
  static func load(_ path: String, _ head: CatalogueHead) throws(StoreError) -> FreeList {
    guard head.freeCount > 0, Folder.exists(path) else { return FreeList(numbers: []) }
    guard let bytes = try soundBytes(path, head) else { return FreeList(numbers: []) }
    let count = Int(min(head.freeCount, UInt64(bytes.count / 8)))
    var reader = FieldReader(bytes)
    var numbers: [UInt64] = []
    numbers.reserveCapacity(count)
    for _ in 0..<count {
      if let number = reader.next(UInt64.self) { numbers.append(number) }
    }
    return FreeList(numbers: numbers)
  }

  /// What is wrong with the file, if anything is.
  static func check(_ path: String, _ head: CatalogueHead) throws(StoreError) -> Damage? {
    guard head.freeDigest != .none, try soundBytes(path, head) == nil else { return nil }
    return Damage(file: "pages/free", what: "it is not the list that the catalogue knows")
  }

  private static func soundBytes(
    _ path: String, _ head: CatalogueHead
  ) throws(StoreError) -> [UInt8]? {
    guard Folder.exists(path) else { return nil }
    let file = try File.open(path, 0, doing: "opening the free list")
    let bytes = try file.read(
      count: Int(min(try file.byteCount(), UInt64(limit) * 8)), at: 0)
    return try Digester.make().hash(bytes) == head.freeDigest ? bytes : nil
  }

  /// Writes a list; its digest.
  static func write(_ path: String, _ numbers: [UInt64]) throws(StoreError) -> ContentHash {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(numbers.count * 8)
    for number in numbers.prefix(limit) { bytes.appendLittleEndian(number) }
    try Folder.replace(path, with: bytes)
    return try Digester.make().hash(bytes)
  }

  /// The free numbers of a table of `length` entries, as bits.
  static func bits(_ path: String, _ head: CatalogueHead) throws(StoreError) -> AtomicBits {
    let bits = AtomicBits(count: Int(head.tableLength) + 1)
    for number in try load(path, head).numbers where number <= head.tableLength {
      bits.set(Int(number))
    }
    return bits
  }

  /// Takes the last free number.
  mutating func take() -> UInt64? { numbers.popLast() }
}
