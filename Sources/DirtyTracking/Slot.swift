// A memory slot in force, with what its dirty log said last.

import GuestMemory
import KVM

/// A memory slot that KVM has.
struct Slot {
  let number: UInt32
  let plan: SlotPlan
  /// For whom its writes are noticed.
  var logClients: DirtyClients
  /// Pages, one bit each, whose meaning is the method's.
  ///
  /// Cleared by request: what KVM's log was seen to have and was not cleared since. By ring: what
  /// was collected and not yet merged.
  var bits: [UInt64] = []

  /// Host pages in the slot.
  var pageCount: Int { Int(plan.guest.byteCount) / KVMVirtualMachine.hostPageByteCount }

  /// Words of a bitmap with a bit for each.
  var wordCount: Int { (pageCount + 63) / 64 }

  /// Where its first page lies in the RAM list's address space.
  var ramStart: RAMAddress { plan.block.ramOffset.advanced(by: plan.blockOffset) }

  /// What KVM is told.
  func kernelSlot(isLogged: Bool) -> KVMMemorySlot {
    KVMMemorySlot(
      number: number, guestAddress: plan.guest.start.rawValue, byteCount: plan.guest.byteCount,
      hostAddress: plan.hostAddress, isLogged: isLogged && !plan.isReadOnly,
      isReadOnly: plan.isReadOnly)
  }

  /// Adds a bitmap of host pages to the bitmaps of whoever wants to know.
  func merge(_ words: [UInt64]) {
    let pagesPerBit = KVMVirtualMachine.hostPageByteCount / RAMRange.pageSize
    for client in DirtyClient.allCases where logClients.contains(DirtyClients(client)) {
      plan.block.dirty.merge(
        words.span, at: ramStart, pageCount: pageCount * pagesPerBit, pagesPerBit: pagesPerBit,
        for: client)
    }
  }

  /// A bitmap in which every page of the slot is set.
  var allPages: [UInt64] {
    var words = [UInt64](repeating: .max, count: wordCount)
    if pageCount % 64 != 0 { words[wordCount - 1] = (1 << UInt64(pageCount % 64)) - 1 }
    return words
  }
}
