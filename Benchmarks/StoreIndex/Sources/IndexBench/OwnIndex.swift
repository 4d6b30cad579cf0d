// The store's own index: page table and slots.

import Foundation
import PageHash

@testable import CheckpointStore

/// Table and slots, grown as a store's are.
final class OwnIndex: PageIndexing {
  let name = "own: page table + slots"
  private let folder: String
  private let table: PageTable
  private var slots: SlotFile
  private var length: UInt64 = 0

  init(folder: String, pages: Int) throws {
    self.folder = folder
    table = try PageTable.create(folder + "/table")
    slots = try SlotFile.create(folder + "/slots", capacity: SlotFile.smallestCapacity)
  }

  func insert(_ entries: [PageEntry]) throws {
    var start = 0
    while start < entries.count {
      let batch = Array(entries[start..<min(start + 64, entries.count)])
      try table.write(batch, from: length + 1)
      for entry in batch {
        length += 1
        slots.insert(entry.hash, number: length)
      }
      if !slots.hasRoom(for: 64) {
        slots = try SlotFile.rebuild(
          folder + "/slots", from: table, length: length, room: 0, serial: 1, durable: false)
      }
      start += batch.count
    }
    try table.file.sync()
    try slots.sync()
  }

  func countFound(_ hashes: [ContentHash]) throws -> Int {
    var found = 0
    for hash in hashes {
      let reference = try slots.find(hash) { (number) throws(StoreError) in
        try table.entry(number).hash == hash
      }
      if reference != nil { found += 1 }
    }
    return found
  }

  func byteCount() throws -> UInt64 {
    try Folder.allocatedByteCount(folder) - lmdbByteCount()
  }

  private func lmdbByteCount() throws -> UInt64 {
    var total: UInt64 = 0
    for name in try Folder.names(in: folder) where name.hasPrefix("lmdb") {
      total += try Folder.allocatedByteCount(folder + "/" + name)
    }
    return total
  }
}
