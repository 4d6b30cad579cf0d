// Free memory of this host, made memory that is there, before something is measured.
//
// Below a virtual machine a hypervisor may take back what is free (free page reporting of
// virtio-balloon does, after two seconds). The first touch of it then waits for the hypervisor: a
// second for a GiB in huge pages instead of an eighth of one. That is no part of a move, a copy or
// a save, and falls on whoever happens to be given such pages.

import Glibc

/// The host's memory that nobody uses.
public enum FreeMemory {
  /// There is less of it than was to be touched.
  public struct Shortage: Error, CustomStringConvertible {
    /// How much was to be touched.
    public let byteCount: Int

    /// A sentence for a person.
    public var description: String {
      "There are no \(byteCount) bytes of free memory to fill: measure with less."
    }
  }

  /// Touches as much free memory as is about to be filled, in huge pages, and frees it again.
  public static func touch(byteCount: Int) throws(Shortage) {
    // SAFETY: a new anonymous mapping.
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Shortage(byteCount: byteCount)
    }
    // SAFETY: the mapping was made with this size just now, and is used by nobody else.
    unsafe madvise(address, byteCount, MADV_HUGEPAGE)
    unsafe memset(address, 1, byteCount)
    unsafe munmap(address, byteCount)
  }
}
