// What cannot be asked of this host.

import Glibc
import GuestMemory

extension MachineConfiguration {
  /// What the guest's memory is made of.
  var backing: RAMBacking {
    if usesHugePages { return .hugePages }
    return sharesMemory ? .sharedMemory : .anonymous
  }

  /// Checks that the host could hold the machine's memory if the guest used all of it.
  ///
  /// The kernel gives address space for any amount; a machine that is larger than the host would
  /// start, and be killed in the middle of its work.
  ///
  /// - Parameter hostByteCount: the host's memory in bytes.
  /// - Throws: ``MachineError/memory(byteCount:reason:)``.
  func checkMemory(ofHost hostByteCount: UInt64 = Self.hostMemory) throws(MachineError) {
    guard memoryByteCount <= hostByteCount else {
      throw .memory(
        byteCount: memoryByteCount,
        reason: "this host has \(hostByteCount >> 20) MiB in all; ask for less")
    }
  }

  /// The host's memory in bytes, without swap space.
  static var hostMemory: UInt64 {
    UInt64(clamping: sysconf(Int32(_SC_PHYS_PAGES)))
      * UInt64(clamping: sysconf(Int32(_SC_PAGESIZE)))
  }
}
