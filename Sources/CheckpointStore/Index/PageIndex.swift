// The store's index: the page table and the slots that find pages in it.

import PageHash
import Synchronization

/// Finds stored pages by their hashes.
///
/// Lookups need no lock and see what was published when they began; changes are made with the
/// publish lock held.
final class PageIndex: Sendable {
  let table: PageTable
  private let path: String
  private let slots: Mutex<SlotFile?>

  init(table: PageTable, slotsPath: String) {
    self.table = table
    path = slotsPath
    slots = Mutex(nil)
  }

  /// Lookups against one state of the slots.
  struct Lookup {
    fileprivate let slots: SlotFile?
    fileprivate let table: PageTable

    /// The reference of a stored page with that hash.
    func find(_ hash: ContentHash) throws(StoreError) -> PageReference? {
      guard let slots else { return nil }
      return try slots.find(hash) { (number) throws(StoreError) in
        try table.entry(number).hash == hash
      }
    }
  }

  /// Opens the newest slots, if they are not open already.
  func lookup() throws(StoreError) -> Lookup {
    let current = try slots.withLock { (slots) throws(StoreError) in
      if slots == nil || slots?.isSuperseded == true { slots = try SlotFile.open(path) }
      return slots
    }
    return Lookup(slots: current, table: table)
  }

  /// Makes sure that the slots hold every page of the publication `head.serial`, and have room for
  /// `more`; rebuilds them where they do not.
  ///
  /// The publish lock is held.
  func prepare(
    _ head: CatalogueHead, room more: UInt64, freed: () throws(StoreError) -> AtomicBits
  ) throws(StoreError) -> SlotFile {
    try slots.withLock { (slots) throws(StoreError) in
      if slots == nil || slots?.isSuperseded == true { slots = try SlotFile.open(path) }
      if let slots, slots.serial == head.serial, slots.hasRoom(for: more) { return slots }
      let old = slots
      let free = try freed()
      let made = try SlotFile.rebuild(
        path, from: table, length: head.tableLength, room: more, serial: head.serial,
        durable: true, isLive: { !free[Int($0)] })
      old?.markSuperseded()
      slots = made
      return made
    }
  }

  /// The slots as they are, or nil; for checking them.
  func current() throws(StoreError) -> SlotFile? { try lookup().slots }
}
