// The way from a hash to a page's number: an open-addressed table of 64-bit words, mapped.

import Glibc
import PageHash

/// A hash index over a page table, of 8 bytes a slot: number (40 bits) and fingerprint (24).
///
/// It holds nothing that the page table does not; it is rebuilt from it when it is missing, full or
/// not known to be whole. Readers need no lock: a slot changes once, from empty to its value. One
/// writer at a time, under the lock of whoever owns the file, inserts.
final class SlotFile: Sendable {
  private static let magic: UInt64 = 0x3153_544F_4C53_5747  // "GWSLOTS1"
  private static let headerWords = 512

  private enum Word {
    static let magic = 0
    static let capacity = 1
    static let count = 2
    static let serial = 3
    static let superseded = 4
  }

  let capacity: Int
  private let words: MappedWords

  private init(_ words: MappedWords, capacity: Int) {
    self.words = words
    self.capacity = capacity
  }

  /// How much of the slots may stay in memory: all of them up to some 25 GiB of different pages.
  private static let residentBytes = 96 << 20

  /// The fewest slots a file has.
  static let smallestCapacity = 4096

  /// Slots for `count` pages, half of them empty at first.
  static func capacity(for count: UInt64) -> Int {
    max(smallestCapacity, Int(count) * 2)
  }

  /// Makes a file of empty slots; its blocks are taken at once, so that a full disk shows here.
  static func create(_ path: String, capacity: Int) throws(StoreError) -> SlotFile {
    let file = try File.open(path, O_RDWR | O_CREAT | O_TRUNC, doing: "making the page index")
    let count = headerWords + capacity
    try file.allocate(byteCount: UInt64(count) * 8)
    let words = try MappedWords(
      file, count: count, writable: true, residentBytes: residentBytes)
    words[Word.capacity] = UInt64(capacity)
    words[Word.magic] = magic
    return SlotFile(words, capacity: capacity)
  }

  /// Opens a file; nil where there is none, or it is not one.
  static func open(_ path: String) throws(StoreError) -> SlotFile? {
    guard Folder.exists(path) else { return nil }
    let file = try File.open(path, O_RDWR, doing: "opening the page index")
    let count = Int(try file.byteCount() / 8)
    guard count > headerWords else { return nil }
    let words = try MappedWords(
      file, count: count, writable: true, residentBytes: residentBytes)
    guard words[Word.magic] == magic, words[Word.capacity] == UInt64(count - headerWords) else {
      return nil
    }
    return SlotFile(words, capacity: count - headerWords)
  }

  /// Pages that have a slot.
  var count: UInt64 { words[Word.count] }

  /// The publication up to which the slots are whole; 0 while they change or may be torn.
  var serial: UInt64 {
    get { words[Word.serial] }
    set { words[Word.serial] = newValue }
  }

  /// Whether a larger file has taken this one's place.
  var isSuperseded: Bool { words[Word.superseded] != 0 }

  func markSuperseded() { words[Word.superseded] = 1 }

  /// Whether `more` pages fit before lookups would grow slow (four slots in five taken).
  func hasRoom(for more: UInt64) -> Bool {
    (count + more) * 5 <= UInt64(capacity) * 4
  }

  private func firstSlot(_ hash: ContentHash) -> Int {
    Int(hash.word0.multipliedFullWidth(by: UInt64(capacity)).high)
  }

  /// The reference of a page whose hash is `hash`, if `isMatch` confirms a number whose fingerprint
  /// is the same.
  func find(
    _ hash: ContentHash, _ isMatch: (UInt64) throws(StoreError) -> Bool
  ) throws(StoreError) -> PageReference? {
    words.noteAccess()
    var slot = firstSlot(hash)
    for _ in 0..<capacity {
      let word = words[SlotFile.headerWords + slot]
      if word == 0 { return nil }
      let reference = PageReference(rawValue: word)
      if reference.fingerprint == hash.fingerprint, try isMatch(reference.number) {
        return reference
      }
      slot += 1
      if slot == capacity { slot = 0 }
    }
    return nil
  }

  /// Adds a page that has no slot yet; there must be room.
  func insert(_ hash: ContentHash, number: UInt64) {
    words.noteAccess()
    let reference = PageReference(number: number, hash: hash)
    var slot = firstSlot(hash)
    for _ in 0..<capacity {
      if words[SlotFile.headerWords + slot] == 0 {
        words[SlotFile.headerWords + slot] = reference.rawValue
        words[Word.count] = words[Word.count] + 1
        return
      }
      slot += 1
      if slot == capacity { slot = 0 }
    }
  }

  /// Makes the slots survive power loss.
  func sync() throws(StoreError) { try words.sync() }

  /// Makes slots anew for every entry of a table, and puts them in the place of what is there.
  ///
  /// - Parameters:
  ///   - length: the entries 1…length are looked at; free ones get no slot.
  ///   - room: further pages that must fit.
  ///   - isLive: whether a number's entry counts.
  static func rebuild(
    _ path: String, from table: PageTable, length: UInt64, room: UInt64, serial: UInt64,
    durable: Bool, isLive: (UInt64) -> Bool = { _ in true }
  ) throws(StoreError) -> SlotFile {
    let draft = path + ".draft"
    do throws(StoreError) {
      let made = try create(draft, capacity: capacity(for: length + room))
      try table.forEach(upTo: length) { (number, entry) throws(StoreError) in
        if !entry.isFree && isLive(number) { made.insert(entry.hash, number: number) }
      }
      made.serial = serial
      if durable { try made.sync() }
      try Folder.rename(draft, to: path)
      return made
    } catch {
      try? Folder.removeFile(draft)
      throw error
    }
  }
}
