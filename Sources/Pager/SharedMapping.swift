// Memory that two processes map from one descriptor: the guest's, and the record of what arrived.

internal import CLinux
internal import Glibc
internal import Transport

/// A writable mapping of a file without a name, which other processes have mapped as well.
///
/// What is read may change at any time. Any thread may use any method; places outside the mapping
/// are a mistake of the program.
@safe
final class SharedMapping: @unchecked Sendable {
  let byteCount: Int
  private let base: UnsafeMutableRawPointer
  private let descriptor: OwnedDescriptor

  /// Maps the beginning of a file.
  ///
  /// - Parameters:
  ///   - byteCount: above 0, and no more than the file has.
  ///   - what: what messages call it.
  init(
    _ descriptor: consuming OwnedDescriptor, byteCount: Int, what: String
  ) throws(PagerError) {
    var status = stat()
    // SAFETY: the kernel fills the local structure.
    guard unsafe fstat(descriptor.raw, &status) == 0, byteCount > 0,
      status.st_size >= off_t(byteCount)
    else {
      throw .memory(
        action: "Mapping \(what)", reason: "it has \(status.st_size) bytes, not \(byteCount)")
    }
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor.raw, 0)
    guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
      throw .memory(action: "Mapping \(what)", reason: Self.text(of: errno))
    }
    unsafe base = mapped
    self.byteCount = byteCount
    self.descriptor = descriptor
  }

  /// Makes a file without a name and maps it.
  convenience init(newFile byteCount: Int, what: String) throws(PagerError) {
    // SAFETY: the name's bytes live for the call.
    let number = unsafe godwit_memfd(what)
    guard number >= 0 else {
      throw .memory(action: "Making \(what)", reason: Self.text(of: -number))
    }
    let descriptor = OwnedDescriptor(adopting: number)
    guard ftruncate(number, off_t(byteCount)) == 0 else {
      throw .memory(action: "Making \(what)", reason: Self.text(of: errno))
    }
    try self.init(descriptor, byteCount: byteCount, what: what)
  }

  deinit {
    // SAFETY: this object's own mapping, unmapped once.
    unsafe _ = munmap(base, byteCount)
  }

  /// The number of the descriptor, valid while this object lives.
  var rawDescriptor: Int32 { descriptor.raw }

  /// A second descriptor of what is mapped.
  func duplicateDescriptor() throws(TransportError) -> OwnedDescriptor {
    try descriptor.duplicate()
  }

  /// Copies bytes to a place.
  func write(at offset: Int, _ content: RawSpan) {
    check(offset, content.byteCount)
    // SAFETY: the range is inside the mapping.
    unsafe content.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe (base + offset).copyMemory(from: start, byteCount: bytes.count)
    }
  }

  /// Writes bytes to a place of the file, and not through the mapping.
  ///
  /// Pages that nobody touched yet are then neither cleared first nor faulted in one by one. Not
  /// for huge pages, whose file system takes no writes.
  func store(at offset: Int, _ content: RawSpan) throws(PagerError) {
    check(offset, content.byteCount)
    var written = 0
    while written < content.byteCount {
      // SAFETY: the bytes live for the call.
      let count = unsafe content.withUnsafeBytes { bytes in
        unsafe pwrite(
          descriptor.raw, bytes.baseAddress.map { unsafe $0 + written }, bytes.count - written,
          off_t(offset + written))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw .memory(
          action: "Writing \(content.byteCount) bytes of guest memory",
          reason: Self.text(of: errno))
      }
      written += count
    }
  }

  /// Writes zeros to a place.
  func clear(at offset: Int, byteCount: Int) {
    check(offset, byteCount)
    // SAFETY: the range is inside the mapping.
    unsafe _ = memset(base + offset, 0, byteCount)
  }

  /// Copies bytes of a place; all of `buffer` is filled.
  func read(at offset: Int, into buffer: inout [UInt8]) {
    check(offset, buffer.count)
    // SAFETY: the range is inside the mapping; the array's memory is writable for its length.
    unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe bytes.baseAddress?.copyMemory(from: base + offset, byteCount: bytes.count)
    }
  }

  /// Reads a byte, so that the page of it exists, of zeros if it did not.
  func touch(at offset: Int) { _ = loadWord(at: offset / 8) }

  /// Takes the memory of whole pages out of the file, for everyone: they are zeros.
  func punch(_ range: Range<Int>) throws(PagerError) {
    check(range.lowerBound, range.count)
    let result = godwit_file_punch_hole(
      descriptor.raw, Int64(range.lowerBound), Int64(range.count))
    guard result >= 0 else {
      throw .memory(
        action: "Giving back \(range.count) bytes of guest memory", reason: Self.text(of: -result))
    }
  }

  /// A word, in this host's byte order.
  func loadWord(at index: Int) -> UInt64 {
    check(index * 8, 8)
    // SAFETY: an aligned word inside the mapping.
    return unsafe godwit_word_load((base + index * 8).assumingMemoryBound(to: UInt64.self))
  }

  /// Stores a word; who sees it sees everything that this thread wrote before.
  func storeWord(at index: Int, _ value: UInt64) {
    check(index * 8, 8)
    // SAFETY: as for `loadWord`.
    unsafe godwit_word_store((base + index * 8).assumingMemoryBound(to: UInt64.self), value)
  }

  private func check(_ offset: Int, _ count: Int) {
    precondition(
      offset >= 0 && count >= 0 && offset <= byteCount && count <= byteCount - offset,
      "a place inside the mapping")
  }

  /// The kernel's words for an error number.
  static func text(of code: Int32) -> String {
    // SAFETY: strerror answers a terminated string, which is copied at once.
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }
}

extension [UInt8] {
  /// Lends the bytes.
  func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    // SAFETY: every byte of an array of bytes is initialised, and the span ends with the call.
    try body(unsafe span.bytes)
  }

  /// Appends the bytes of a span.
  mutating func append(_ content: RawSpan) {
    // SAFETY: the pointer is used during the call only.
    unsafe content.withUnsafeBytes { bytes in unsafe append(contentsOf: bytes) }
  }
}
