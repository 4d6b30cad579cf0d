// Free memory of this host, made memory that is there.
//
// Below a virtual machine a hypervisor may take back what is free (free page reporting of
// virtio-balloon does, after two seconds). The first touch of it then waits for the hypervisor: a
// second for a GiB in huge pages instead of an eighth of one. That is no part of a save, and falls
// on whichever round happens to be given such pages.

import Glibc

enum FreeMemory {
  /// Touches as much free memory as is about to be filled, in huge pages, and frees it again.
  static func touch(byteCount: Int) {
    // SAFETY: a new anonymous mapping.
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else { return }
    // SAFETY: the mapping was made with this size just now, and is used by nobody else.
    unsafe madvise(address, byteCount, MADV_HUGEPAGE)
    unsafe memset(address, 1, byteCount)
    unsafe munmap(address, byteCount)
  }
}
