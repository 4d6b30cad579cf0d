// A vCPU's ring of dirty pages, which the kernel fills and its reader empties.

import CLinux
import Synchronization

/// A vCPU's dirty ring.
///
/// Any thread may collect; one does at a time.
@safe public final class DirtyRing: Sendable {
  /// Size of an entry in bytes (`struct kvm_dirty_gfn`): flags, slot, page.
  public static let entryByteCount = MemoryLayout<kvm_dirty_gfn>.stride

  /// The number of the vCPU that it belongs to.
  public let vcpu: Int
  private let address: UInt
  private let byteCount: Int
  /// The entry that the kernel fills next, modulo the ring's size.
  private let next = Mutex(0)

  /// Entries in the ring.
  public var entryCount: Int { byteCount / Self.entryByteCount }

  init(descriptor: Int32, vcpu: Int, byteCount: Int) throws(KVMError) {
    self.vcpu = vcpu
    let offset = godwit_dirty_ring_page_offset * KVMVirtualMachine.hostPageByteCount
    switch KernelCall.map(descriptor, byteCount: byteCount, offset: offset) {
    case .success(let address): self.address = address
    case .failure(let failure):
      throw .failed(action: "Mapping a vCPU's dirty ring", code: failure.code)
    }
    self.byteCount = byteCount
  }

  deinit {
    KernelCall.unmap(address, byteCount: byteCount)
  }

  /// Hands over each dirty page and marks it collected.
  ///
  /// The pages stay writable, unlogged, until ``KVMVirtualMachine/resetDirtyRings()``; what the
  /// guest writes before that is not reported again, so nobody may read a page between the two.
  /// - Parameter body: gets the slot's number and the page's number within it, in host pages.
  /// - Returns: how many there were. A vCPU leaves the guest before its ring is full; where all
  ///   ``entryCount`` entries are dirty, it did not, and others were overwritten.
  public func collect(_ body: (_ slot: UInt32, _ page: UInt64) -> Void) -> Int {
    next.withLock { next in
      var count = 0
      while count < entryCount {
        // SAFETY: the index is below the entry count; the kernel publishes an entry by its flags,
        // read first, and leaves it alone until it was collected and reset.
        let entry = unsafe UnsafeMutableRawPointer(
          bitPattern: address + UInt(next * Self.entryByteCount)
        ).unsafelyUnwrapped
        guard unsafe godwit_dirty_gfn_flags(entry) & 1 != 0 else { break }
        let (slot, page) = unsafe (
          entry.load(fromByteOffset: 4, as: UInt32.self),
          entry.load(fromByteOffset: 8, as: UInt64.self)
        )
        body(slot, page)
        unsafe godwit_dirty_gfn_collect(entry)
        next = (next + 1) % entryCount
        count += 1
      }
      return count
    }
  }
}
