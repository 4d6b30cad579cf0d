// Which pages the guest wrote: the bitmap of a slot, clearing it in pieces, and the rings.

import CLinux
import Glibc
import Synchronization
import Transport

extension KVMVirtualMachine {
  /// Reads a slot's dirty bitmap, one bit per host page, the lowest bit first.
  ///
  /// Unless ``KVMCapability/manualDirtyLogProtect`` is on, the kernel's bitmap is cleared and the
  /// pages are protected again in the same step.
  /// - Parameters:
  ///   - slot: the slot's number.
  ///   - words: is resized to hold a bit for each of its pages, and filled.
  public func readDirtyLog(slot: UInt32, into words: inout [UInt64]) throws(KVMError) {
    // The lock keeps the slot's size while the kernel writes a bitmap of that size.
    let result = slotByteCounts.withLock { sizes -> Int in
      let pageCount = Int(sizes[slot] ?? 0) / Self.hostPageByteCount
      let wordCount = (pageCount + 63) / 64
      if words.count != wordCount { words = [UInt64](repeating: 0, count: wordCount) }
      guard wordCount > 0 else { return -Int(ENOENT) }
      return KernelCall.dirtyLog(
        descriptor.raw, GODWIT_KVM_GET_DIRTY_LOG, slot: slot, words: &words)
    }
    guard result >= 0 else {
      throw .failed(action: "Reading the dirty log of the slot \(slot)", code: Int32(-result))
    }
  }

  /// Clears bits of a slot's dirty bitmap and protects their pages again.
  ///
  /// Needs ``KVMCapability/manualDirtyLogProtect`` switched on.
  /// - Parameters:
  ///   - slot: the slot's number.
  ///   - firstPage: a multiple of 64, in host pages from the slot's start.
  ///   - pageCount: a multiple of 64, or up to the slot's end.
  ///   - words: a one for each page to clear, the lowest bit of the first word being `firstPage`.
  public func clearDirtyLog(
    slot: UInt32, firstPage: Int, pageCount: Int, words: inout [UInt64]
  ) throws(KVMError) {
    guard words.count * 64 >= pageCount else {
      throw .wrongSize(
        of: "the bits to clear in the dirty log", expected: (pageCount + 63) / 64,
        found: words.count)
    }
    let result = KernelCall.clearDirtyLog(
      descriptor.raw, GODWIT_KVM_CLEAR_DIRTY_LOG, slot: slot, firstPage: UInt64(firstPage),
      pageCount: UInt32(pageCount), words: &words)
    guard result >= 0 else {
      throw .failed(
        action: "Clearing \(pageCount) pages from \(firstPage) in the dirty log of the slot "
          + "\(slot)", code: Int32(-result))
    }
  }

  /// Protects the pages again that were collected from the vCPUs' dirty rings.
  /// - Returns: how many there were.
  @discardableResult
  public func resetDirtyRings() throws(KVMError) -> Int {
    let result = KernelCall.plain(descriptor.raw, GODWIT_KVM_RESET_DIRTY_RINGS)
    guard result >= 0 else {
      throw .failed(action: "Resetting the dirty rings", code: Int32(-result))
    }
    return result
  }
}

extension KernelCall {
  /// KVM_GET_DIRTY_LOG.
  fileprivate static func dirtyLog(
    _ descriptor: Int32, _ request: UInt, slot: UInt32, words: inout [UInt64]
  ) -> Int {
    var log = godwit_dirty_log()
    log.slot = slot
    // SAFETY: the caller sized the buffer for the slot's pages, rounded up to 64, which is all
    // that the kernel writes; the kernel does not keep the address.
    return unsafe words.withUnsafeMutableBytes { buffer in
      log.bitmap = UInt64(UInt(bitPattern: buffer.baseAddress))
      return exchange(descriptor, request, &log)
    }
  }

  /// KVM_CLEAR_DIRTY_LOG.
  fileprivate static func clearDirtyLog(
    _ descriptor: Int32, _ request: UInt, slot: UInt32, firstPage: UInt64, pageCount: UInt32,
    words: inout [UInt64]
  ) -> Int {
    var log = godwit_clear_dirty_log()
    log.slot = slot
    log.first_page = firstPage
    log.num_pages = pageCount
    // SAFETY: the caller checked that the buffer holds `pageCount` bits, which is all that the
    // kernel reads.
    return unsafe words.withUnsafeMutableBytes { buffer in
      log.bitmap = UInt64(UInt(bitPattern: buffer.baseAddress))
      return exchange(descriptor, request, &log)
    }
  }
}
