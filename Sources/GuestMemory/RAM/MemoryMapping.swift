// A mapping that has one owner and unmaps itself.

internal import CLinux
internal import Glibc
internal import Transport

/// A writable mapping that nobody else owns.
///
/// No memory is taken, and none is promised by the kernel, until a page is touched: mapping 8 GiB
/// takes as long as mapping 8 MiB. It begins at a multiple of 2 MiB, so that both the kernel and
/// KVM can use huge pages.
@safe
struct MemoryMapping: ~Copyable, @unchecked Sendable {
  static let alignment = 2 << 20

  let base: UnsafeMutableRawPointer
  let byteCount: Int

  /// Maps memory of this process alone.
  init(anonymous byteCount: Int, for name: String) throws(GuestMemoryError) {
    try self.init(byteCount, flags: MAP_PRIVATE | MAP_ANONYMOUS, descriptor: -1, for: name)
  }

  /// Maps the beginning of a file.
  init(
    _ byteCount: Int, of descriptor: borrowing OwnedDescriptor, isShared: Bool, for name: String
  ) throws(GuestMemoryError) {
    try self.init(
      byteCount, flags: isShared ? MAP_SHARED : MAP_PRIVATE, descriptor: descriptor.raw,
      for: name)
  }

  /// Maps a file of huge pages, all of which the kernel sets aside: without that, a touch of one
  /// that there is not would end the process.
  init(
    _ byteCount: Int, ofHugePages descriptor: borrowing OwnedDescriptor, for name: String
  ) throws(GuestMemoryError) {
    try self.init(
      byteCount, flags: MAP_SHARED, descriptor: descriptor.raw, for: name,
      action: "Setting \(byteCount / Self.hugePageSize) huge pages of 2 MiB aside for '\(name)' "
        + "(vm.nr_hugepages says how many there are)")
  }

  private init(
    _ byteCount: Int, flags: Int32, descriptor: Int32, for name: String, action: String? = nil
  ) throws(GuestMemoryError) {
    precondition(byteCount > 0, "a mapping has at least one byte")
    let isReserved = action != nil
    let action = action ?? "Reserving \(byteCount) bytes of address space for '\(name)'"
    let reserved = byteCount + Self.alignment
    // SAFETY: a new mapping without access rights at an address of the kernel's choice.
    let room = unsafe mmap(
      nil, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let room = unsafe room, unsafe room != MAP_FAILED else {
      throw .hostRefused(action: action, code: errno)
    }
    let skipped = -Int(bitPattern: room) & (Self.alignment - 1)
    let start = unsafe room + skipped
    // SAFETY: replaces a part of the room, which nobody else knows of yet.
    let mapped = unsafe mmap(
      start, byteCount, PROT_READ | PROT_WRITE,
      flags | MAP_FIXED | (isReserved ? 0 : MAP_NORESERVE), descriptor, 0)
    let code = errno
    guard unsafe mapped == start else {
      unsafe munmap(room, reserved)
      throw .hostRefused(action: action, code: code)
    }
    // SAFETY: what lies before and behind the new mapping is unused; sizes are whole pages.
    if skipped > 0 { unsafe munmap(room, skipped) }
    let end = skipped + byteCount
    let pageSize = Self.hostPageSize
    let firstUnused = (end + pageSize - 1) / pageSize * pageSize
    if firstUnused < reserved { unsafe munmap(room + firstUnused, reserved - firstUnused) }
    unsafe base = start
    self.byteCount = byteCount
  }

  deinit {
    // SAFETY: this value's own mapping, unmapped once.
    unsafe _ = munmap(base, byteCount)
  }

  /// The host's page size in bytes.
  static let hostPageSize = Int(sysconf(Int32(_SC_PAGESIZE)))

  /// The size of the huge pages that are used, in bytes.
  static let hugePageSize = 2 << 20

  /// Gives the kernel advice (MADV_…) about a range inside the mapping.
  func advise(_ range: Range<Int>, _ advice: Int32, action: String) throws(GuestMemoryError) {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "inside the mapping")
    // SAFETY: the range is inside the mapping.
    guard unsafe madvise(base + range.lowerBound, range.count, advice) == 0 else {
      throw .hostRefused(action: action, code: errno)
    }
  }
}

/// The files that back RAM blocks.
enum MemoryFile {
  /// A memfd of that size; memory is taken when it is touched.
  static func shared(
    byteCount: Int, for name: String, isHuge: Bool = false
  ) throws(GuestMemoryError) -> OwnedDescriptor {
    let action = "Making \(byteCount) bytes of shared memory for '\(name)'"
    let number = unsafe isHuge ? godwit_memfd_huge(name) : godwit_memfd(name)
    guard number >= 0 else { throw .hostRefused(action: action, code: -number) }
    let descriptor = OwnedDescriptor(adopting: number)
    guard ftruncate(number, off_t(byteCount)) == 0 else {
      throw .hostRefused(action: action, code: errno)
    }
    return descriptor
  }

  /// An existing file of at least that size.
  static func existing(
    _ path: String, byteCount: Int
  ) throws(GuestMemoryError) -> OwnedDescriptor {
    let action = "Opening '\(path)' as guest memory"
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { throw .hostRefused(action: action, code: errno) }
    let descriptor = OwnedDescriptor(adopting: number)
    var status = stat()
    guard unsafe fstat(number, &status) == 0 else {
      throw .hostRefused(action: action, code: errno)
    }
    guard status.st_size >= off_t(byteCount) else {
      throw .fileTooShort(path: path, expected: byteCount, found: Int(status.st_size))
    }
    return descriptor
  }
}
