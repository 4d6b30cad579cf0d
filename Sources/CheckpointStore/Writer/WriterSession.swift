// A save's own folder: what it has met so far, kept in files so that memory stays bounded.

import Glibc
import PageHash
import Synchronization

/// The unpublished part of a save: a reference word for each page of the guest, a page table of its
/// own for what it brings, and slots to find them by.
final class WriterSession: Sendable {
  let folder: String
  /// The blocks' words lie behind each other, each block beginning a chunk of 512, as in manifests.
  let words: MappedWords
  let entries: PageTable
  /// Reads the session's own pages.
  let source: PageSource
  private let owner: FileLock
  private let found: Mutex<Found>

  /// Slots to begin with, 2 MiB of them at most: while they are made anew, larger, every worker
  /// waits.
  private static func firstCapacity(_ wordCount: Int) -> Int {
    min(SlotFile.capacity(for: UInt64(wordCount)), 1 << 18)
  }

  private struct Found {
    var count: UInt64 = 0
    var slots: SlotFile
  }

  /// Makes the folder, taking the disk space its mapped files need.
  init(
    folder: String, packs: PackFiles, wordCount: Int
  ) throws(StoreError) {
    self.folder = folder
    try Folder.make(folder)
    owner = try WriterSession.own(folder)
    let file = try File.open(
      folder + "/references", O_RDWR | O_CREAT | O_EXCL, doing: "making the session's references")
    try file.allocate(byteCount: UInt64(wordCount) * 8)
    words = try MappedWords(file, count: wordCount, writable: true)
    entries = try PageTable.create(folder + "/pages")
    source = PageSource(table: entries, packs: packs)
    let slots = try SlotFile.create(
      folder + "/slots", capacity: WriterSession.firstCapacity(wordCount))
    found = Mutex(Found(slots: slots))
  }

  /// Takes the lock by which others see that the session's process lives, and writes down which
  /// process that is.
  private static func own(_ folder: String) throws(StoreError) -> FileLock {
    let path = ownerPath(folder)
    let file = try File.open(path, O_WRONLY | O_CREAT, doing: "making the session's lock")
    try file.write(Array("\(getpid())\n".utf8), at: 0)
    return try FileLock.wait(path, .exclusive)
  }

  private static func ownerPath(_ folder: String) -> String { folder + "/owner" }

  /// The process that has a session open; nil where its owner is gone.
  static func livingOwner(_ folder: String) throws(StoreError) -> Int32? {
    let path = ownerPath(folder)
    guard Folder.exists(path) else { return nil }
    if try FileLock.attempt(path, .shared) != nil { return nil }
    let text = try File.open(path, O_RDONLY).read(count: 16, at: 0)
    return Int32(String(decoding: text, as: UTF8.self).prefix { $0.isNumber }) ?? 0
  }

  /// Pages that this session has met first.
  var count: UInt64 { found.withLock { $0.count } }

  /// What a page's number in the session is, and whether the caller is the one to store it.
  struct Assignment: Sendable {
    var number: UInt64
    var isNew: Bool
  }

  /// Numbers pages by their hashes; those that no one has brought before are new, and their numbers
  /// consecutive.
  ///
  /// The caller writes their entries once it has stored them.
  func assign(_ hashes: [ContentHash]) throws(StoreError) -> [Assignment] {
    try found.withLock { (found) throws(StoreError) in
      let first = found.count + 1
      var fresh: [PageEntry] = []
      var assignments: [Assignment] = []
      assignments.reserveCapacity(hashes.count)
      for hash in hashes {
        let known = try found.slots.find(hash) { (number) throws(StoreError) in
          number >= first
            ? fresh[Int(number - first)].hash == hash
            : try entries.entry(number).hash == hash
        }
        if let known {
          assignments.append(Assignment(number: known.number, isNew: false))
          continue
        }
        let number = first + UInt64(fresh.count)
        fresh.append(PageEntry(hash: hash, location: PageLocation(rawValue: 0)))
        found.slots.insert(hash, number: number)
        assignments.append(Assignment(number: number, isNew: true))
      }
      try entries.write(fresh, from: first)
      found.count += UInt64(fresh.count)
      if !found.slots.hasRoom(for: UInt64(PageBatch.pageLimit)) {
        found.slots = try SlotFile.rebuild(
          folder + "/slots", from: entries, length: found.count, room: found.count, serial: 0,
          durable: false)
      }
      return assignments
    }
  }

  /// Removes the folder.
  func remove() throws(StoreError) { try Folder.remove(folder) }
}
