// Between the kernel's fixed arrays, which Swift sees as tuples, and arrays.

/// The elements of a fixed array in a kernel structure.
func elements<Element: BitwiseCopyable, Tuple: BitwiseCopyable>(
  of tuple: Tuple, as type: Element.Type = Element.self
) -> [Element] {
  // SAFETY: the tuple's bytes are read while it lives, each whole element once; the kernel's
  // integers have no invalid bit patterns.
  unsafe withUnsafeBytes(of: tuple) { bytes in
    let stride = MemoryLayout<Element>.stride
    return (0..<bytes.count / stride).map { index in
      unsafe bytes.loadUnaligned(fromByteOffset: index * stride, as: Element.self)
    }
  }
}

/// Fills a fixed array in a kernel structure.
/// - Throws: ``KVMError/wrongSize(of:expected:found:)`` where the counts differ.
func fill<Element: BitwiseCopyable, Tuple: BitwiseCopyable>(
  _ tuple: inout Tuple, with elements: [Element], of name: String
) throws(KVMError) {
  let stride = MemoryLayout<Element>.stride
  let expected = MemoryLayout<Tuple>.size / stride
  guard elements.count == expected else {
    throw .wrongSize(of: name, expected: expected, found: elements.count)
  }
  // SAFETY: the guard makes the array's bytes exactly the tuple's.
  unsafe withUnsafeMutableBytes(of: &tuple) { target in
    unsafe elements.withUnsafeBytes { source in unsafe target.copyMemory(from: source) }
  }
}

/// The bytes of words in this machine's order, as the kernel's buffers have them.
func bytes(of words: [UInt64]) -> [UInt8] {
  words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
}

/// The words that hold bytes, the last one padded with zeros.
func words(of bytes: [UInt8]) -> [UInt64] {
  stride(from: 0, to: bytes.count, by: 8).map { start in
    bytes[start..<min(start + 8, bytes.count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
