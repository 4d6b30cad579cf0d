// Reading, writing and lending a block's memory; giving it back to the host.

internal import CLinux
internal import Glibc

extension RAMBlock {
  /// Lends a part to be read.
  /// - Parameters:
  ///   - offset: bytes from the block's beginning.
  ///   - byteCount: how many bytes.
  ///   - body: gets the memory itself, not a copy; the guest may write to it meanwhile.
  /// - Throws: `.outsideBlock`, or what `body` throws.
  public func withBytes<R>(
    offset: Int, byteCount: Int, _ body: (RawSpan) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    try check(offset: offset, byteCount: byteCount)
    // SAFETY: `check` keeps the range inside the mapping, which lives as long as this block.
    return try body(unsafe RawSpan(_unsafeStart: mapping.base + offset, byteCount: byteCount))
  }

  /// Lends a part to be read or written, and marks it dirty afterwards.
  ///
  /// The parameters are those of `withBytes`. The marks are set for every client whose bitmap is
  /// kept, also if `body` throws: it may have written before.
  public func withMutableBytes<R>(
    offset: Int, byteCount: Int, _ body: (inout MutableRawSpan) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    try check(offset: offset, byteCount: byteCount)
    defer { dirty.mark(ramRange(offset: offset, byteCount: byteCount)) }
    // SAFETY: as for `withBytes`; what others write meanwhile is theirs to answer for.
    var span = unsafe MutableRawSpan(_unsafeStart: mapping.base + offset, byteCount: byteCount)
    return try body(&span)
  }

  /// Copies a part into `target`, all of which is filled.
  public func read(
    offset: Int, into target: inout MutableRawSpan
  ) throws(GuestMemoryError) {
    try check(offset: offset, byteCount: target.byteCount)
    copy(from: offset, byteCount: target.byteCount, into: &target, at: 0)
  }

  /// Copies a part, which lies inside the block, to a place inside `target`.
  func copy(from offset: Int, byteCount: Int, into target: inout MutableRawSpan, at place: Int) {
    precondition(
      offset >= 0 && byteCount >= 0 && byteCount <= self.byteCount - offset && place >= 0
        && byteCount <= target.byteCount - place, "a copy inside both memories")
    // SAFETY: the precondition keeps both ranges inside their memory.
    unsafe target.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe (start + place).copyMemory(from: mapping.base + offset, byteCount: byteCount)
    }
  }

  /// Copies `source` to a place in the block, and marks it dirty.
  public func write(offset: Int, _ source: RawSpan) throws(GuestMemoryError) {
    let count = source.byteCount
    try check(offset: offset, byteCount: count)
    // SAFETY: both ranges are checked to be inside their memory.
    unsafe source.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe (mapping.base + offset).copyMemory(from: start, byteCount: count)
    }
    dirty.mark(ramRange(offset: offset, byteCount: count))
  }

  /// Lends the memory's address to calls that take one, such as `preadv` straight into guest
  /// memory.
  ///
  /// Nothing is marked: after writing, `dirty.mark(ramRange(offset:byteCount:))` does.
  @unsafe
  public func withUnsafeMemory<R, E: Error>(
    offset: Int, byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    precondition(
      offset >= 0 && byteCount >= 0 && offset <= self.byteCount
        && byteCount <= self.byteCount - offset, "a range inside its RAM block")
    // SAFETY: the range is inside the mapping, which lives as long as this block.
    return try unsafe body(
      UnsafeMutableRawBufferPointer(start: mapping.base + offset, count: byteCount))
  }

  /// The little-endian value of 1, 2, 4 or 8 bytes that lie inside the block.
  func loadWord(offset: Int, byteCount: Int) -> UInt64 {
    precondition(
      byteCount <= 8 && offset >= 0 && byteCount <= self.byteCount - offset, "inside its block")
    var value: UInt64 = 0
    // SAFETY: the precondition keeps the reading inside the mapping; `value` has 8 bytes.
    unsafe withUnsafeMutableBytes(of: &value) { bytes in
      unsafe bytes.baseAddress?.copyMemory(from: mapping.base + offset, byteCount: byteCount)
    }
    return UInt64(littleEndian: value)
  }

  /// Stores the lowest 1, 2, 4 or 8 bytes of a value, little-endian, inside the block; marks it.
  func storeWord(offset: Int, byteCount: Int, value: UInt64) {
    precondition(
      byteCount <= 8 && offset >= 0 && byteCount <= self.byteCount - offset, "inside its block")
    // SAFETY: the precondition keeps the writing inside the mapping.
    unsafe withUnsafeBytes(of: value.littleEndian) { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe (mapping.base + offset).copyMemory(from: start, byteCount: byteCount)
    }
    dirty.mark(ramRange(offset: offset, byteCount: byteCount))
  }

  /// Gives the host back the memory of the whole pages inside a range.
  ///
  /// What is read there next is zeros or, over a private file, the file's bytes. It is not marked
  /// dirty: whoever gives memory back has said that its content does not matter.
  /// - Returns: how many bytes were given back.
  @discardableResult
  public func discard(offset: Int, byteCount: Int) throws(GuestMemoryError) -> Int {
    try check(offset: offset, byteCount: byteCount)
    let start = (offset + pageSize - 1) / pageSize * pageSize
    let end = (offset + byteCount) / pageSize * pageSize
    guard start < end else { return 0 }
    // MADV_REMOVE takes the pages out of the memfd, for every mapping of it; MADV_DONTNEED would
    // leave them in it.
    let advice = backing.isShared ? MADV_REMOVE : MADV_DONTNEED
    try mapping.advise(
      start..<end, advice, action: "Giving back \(end - start) bytes of '\(name)'")
    return end - start
  }

  /// Takes all of its pages out of this process's page table; shared memory keeps its content.
  ///
  /// The next touch of each is a fault again.
  public func unmapPages() throws(GuestMemoryError) {
    precondition(backing.isShared, "other memory would lose its content")
    try mapping.advise(
      0..<byteCount, MADV_DONTNEED, action: "Unmapping the memory of '\(name)'")
  }

  /// Lets the host use huge pages for the block, or small ones only: where memory is filled page by
  /// page while it is used, a huge page would bring neighbours that nobody filled.
  public func setHugePages(_ isAllowed: Bool) throws(GuestMemoryError) {
    let words = isAllowed ? "Allowing" : "Refusing"
    do throws(GuestMemoryError) {
      try mapping.advise(
        0..<byteCount, isAllowed ? MADV_HUGEPAGE : MADV_NOHUGEPAGE,
        action: "\(words) huge pages in '\(name)'")
    } catch .hostRefused(_, EINVAL) {
      // A kernel without huge pages: there are none to refuse.
    }
  }

  /// Whether a number of bytes are zero, by reading them.
  ///
  /// Reading shared memory that was never touched takes memory for it: `untouchedRuns` knows such
  /// pages without.
  public func isZero(offset: Int, byteCount: Int) throws(GuestMemoryError) -> Bool {
    try withBytes(offset: offset, byteCount: byteCount) { bytes in PageScan.isZero(bytes) }
  }
}
