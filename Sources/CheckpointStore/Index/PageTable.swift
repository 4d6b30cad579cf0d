// The page table: every stored page's hash and place, 40 bytes each, in one append-only file.

import Glibc

#if _endian(big)
  #error("the store's files are little-endian and are read in place")
#endif

/// A file of page entries, numbered from 1.
///
/// A session's new pages are kept in one of its own.
///
/// Entries up to the committed length (which the catalogue knows) are facts; what follows is left
/// over from a publication that never ended, and is overwritten by the next.
final class PageTable: Sendable {
  static let headerSize: UInt64 = 4096
  private static let magic: [UInt8] = Array("GWPAGES1".utf8)

  let file: File

  private init(_ file: File) { self.file = file }

  /// The header: the magic, the format, zeros.
  static func header() -> [UInt8] {
    var bytes = magic
    bytes.appendLittleEndian(UInt32(1))
    bytes += [UInt8](repeating: 0, count: Int(headerSize) - bytes.count)
    return bytes
  }

  /// Makes an empty table.
  static func create(_ path: String) throws(StoreError) -> PageTable {
    let file = try File.open(path, O_RDWR | O_CREAT | O_TRUNC, doing: "making the page table")
    try file.write(header(), at: 0)
    return PageTable(file)
  }

  /// Opens a table and checks its header.
  static func open(_ path: String, writable: Bool = true) throws(StoreError) -> PageTable {
    let file: File
    do throws(StoreError) {
      file = try File.open(path, writable ? O_RDWR : O_RDONLY, doing: "opening the page table")
    } catch {
      // What cannot be written can still be restored from; a save will say what is wrong.
      guard case .system(_, _, let code) = error, code == EROFS || code == EACCES else {
        throw error
      }
      file = try File.open(path, O_RDONLY, doing: "opening the page table")
    }
    guard try file.read(count: Int(headerSize), at: 0) == header() else {
      throw .damaged(Damage(file: "pages/table", what: "its header is not a page table's"))
    }
    return PageTable(file)
  }

  private static func offset(of number: UInt64) -> UInt64 {
    headerSize + (number - 1) * UInt64(PageEntry.byteCount)
  }

  /// The bytes that a table of `length` entries takes.
  static func byteCount(length: UInt64) -> UInt64 {
    headerSize + length * UInt64(PageEntry.byteCount)
  }

  /// One entry; a free one where the file ends before it.
  func entry(_ number: UInt64) throws(StoreError) -> PageEntry {
    guard number > 0, number < PageReference.numberLimit else { return .free }
    var entry = PageEntry.free
    var got = 0
    var failure: StoreError?
    // SAFETY: an entry is five words without padding; any bits are valid.
    unsafe withUnsafeMutableBytes(of: &entry) { buffer in
      var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
      do throws(StoreError) {
        got = try file.read(into: &span, at: PageTable.offset(of: number))
      } catch { failure = error }
    }
    if let failure { throw failure }
    return got == PageEntry.byteCount ? entry : .free
  }

  /// Consecutive entries; fewer where the file ends.
  func entries(from number: UInt64, count: Int) throws(StoreError) -> [PageEntry] {
    var entries = [PageEntry](repeating: .free, count: count)
    var got = 0
    var failure: StoreError?
    // SAFETY: entries are five words without padding; any bits are valid.
    unsafe entries.withUnsafeMutableBytes { buffer in
      var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
      do throws(StoreError) {
        got = try file.read(into: &span, at: PageTable.offset(of: number))
      } catch { failure = error }
    }
    if let failure { throw failure }
    entries.removeLast(count - got / PageEntry.byteCount)
    return entries
  }

  /// Calls `body` with every entry of 1…length, in order; free ones too.
  func forEach(
    upTo length: UInt64, _ body: (UInt64, PageEntry) throws(StoreError) -> Void
  ) throws(StoreError) {
    let step = 4096
    var number: UInt64 = 1
    while number <= length {
      let wanted = Int(min(UInt64(step), length - number + 1))
      let some = try entries(from: number, count: wanted)
      guard some.count == wanted else {
        throw .damaged(
          Damage(
            file: "pages/table",
            what: "it ends after entry \(number - 1 + UInt64(some.count)) of \(length)"))
      }
      for (index, entry) in some.enumerated() { try body(number + UInt64(index), entry) }
      number += UInt64(wanted)
    }
  }

  /// Writes consecutive entries.
  func write(_ entries: [PageEntry], from number: UInt64) throws(StoreError) {
    guard !entries.isEmpty else { return }
    // SAFETY: entries are five words without padding, and the array outlives the call.
    let bytes = unsafe entries.span.bytes
    try file.write(bytes, at: PageTable.offset(of: number))
  }
}

extension PageTable {
  /// Whole entries in the file, those that do not count yet (or any more) too.
  func entryCount() throws(StoreError) -> UInt64 {
    let size = try file.byteCount()
    return size < PageTable.headerSize
      ? 0 : (size - PageTable.headerSize) / UInt64(PageEntry.byteCount)
  }

  /// Points an entry to where its page has been copied: one aligned word, so that whoever reads the
  /// entry meanwhile sees the old place or the new one.
  func move(_ number: UInt64, to location: PageLocation) throws(StoreError) {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(location.rawValue)
    try file.write(bytes, at: PageTable.byteCount(length: number) - 8)
  }
}
