// Memory for a few pages that are read and hashed together.

/// Room for whole pages, used by one thread.
@safe
struct PageRoom: ~Copyable {
  let pageCount: Int
  private let memory: UnsafeMutableRawBufferPointer

  init(pageCount: Int) {
    self.pageCount = pageCount
    // SAFETY: freed in deinit only, and initialised before anything can be read.
    unsafe memory = .allocate(
      byteCount: pageCount * knownPageByteCount, alignment: knownPageByteCount)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    unsafe memory.deallocate()
  }

  /// Lends all of it.
  func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    // SAFETY: the span ends with the call.
    try body(unsafe UnsafeRawBufferPointer(memory).bytes)
  }

  /// Lends all of it, to be written.
  mutating func withMutableBytes<R, E: Error>(
    _ body: (inout MutableRawSpan) throws(E) -> R
  ) throws(E) -> R {
    // SAFETY: the span ends with the call, and nobody else has the memory.
    var span = unsafe MutableRawSpan(_unsafeBytes: memory)
    return try body(&span)
  }

  /// Copies a page of another room into one of this.
  mutating func copyPage(_ source: Int, of other: borrowing PageRoom, to page: Int) {
    let size = knownPageByteCount
    // SAFETY: slicing checks both ranges; two rooms have no memory in common.
    let from = unsafe UnsafeRawBufferPointer(other.memory)[source * size..<(source + 1) * size]
    unsafe UnsafeMutableRawBufferPointer(rebasing: memory[page * size..<(page + 1) * size])
      .copyMemory(from: UnsafeRawBufferPointer(rebasing: from))
  }

  /// Whether a page holds nothing but zeros.
  func isZero(_ page: Int) -> Bool {
    withBytes { bytes in
      let start = page * knownPageByteCount
      for offset in stride(from: start, to: start + knownPageByteCount, by: 64) {
        var sum: UInt64 = 0
        for word in 0..<8 {
          // SAFETY: the load is checked, and any bits are an integer.
          sum |= unsafe bytes.unsafeLoadUnaligned(
            fromByteOffset: offset + word * 8, as: UInt64.self)
        }
        if sum != 0 { return false }
      }
      return true
    }
  }
}
