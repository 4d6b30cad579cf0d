// SHA-256: by OpenSSL, its method fetched once and its context used again; two pages at a time by
// our own kernel where the processor can, which is worth half as much again.

internal import COpenSSL
internal import CPageHash

/// Computes SHA-256; one thread at a time may use one.
@safe
public final class Digester: @unchecked Sendable {
  /// The size of the pages that it hashes two at a time, in bytes.
  public static let pageByteCount = 4096

  private let context: OpaquePointer
  private let method: OpaquePointer

  /// Makes a digester; fails where OpenSSL offers no SHA-256.
  public init() throws(DigesterError) {
    // SAFETY: both pointers are checked, owned here and freed once, in deinit.
    guard let method = unsafe EVP_MD_fetch(nil, "SHA256", nil) else {
      throw DigesterError(
        description: "OpenSSL offers no SHA-256 here: look at its configuration "
          + "(openssl version -a).")
    }
    guard let context = unsafe EVP_MD_CTX_new() else {
      unsafe EVP_MD_free(method)
      throw DigesterError(description: "there is no memory for a SHA-256 context.")
    }
    unsafe self.method = method
    unsafe self.context = context
  }

  deinit {
    // SAFETY: owned by this object since init.
    unsafe EVP_MD_CTX_free(context)
    unsafe EVP_MD_free(method)
  }

  /// The hash of some bytes.
  public func hash(_ content: RawSpan) -> ContentHash {
    begin()
    update(content)
    return finish()
  }

  /// The hash of an array's bytes.
  public func hash(_ bytes: [UInt8]) -> ContentHash {
    begin()
    update(bytes)
    return finish()
  }

  /// Whether this processor hashes two pages side by side faster than one after the other.
  private static let pairsPay = godwit_sha256_pair_is_available()

  /// The hashes of consecutive pages of ``pageByteCount`` bytes; what is left over is not hashed.
  public func hashPages(_ content: RawSpan) -> [ContentHash] {
    let count = content.byteCount / Digester.pageByteCount
    var hashes: [ContentHash] = []
    hashes.reserveCapacity(count)
    while Digester.pairsPay && hashes.count + 2 <= count {
      let start = hashes.count * Digester.pageByteCount
      let middle = start + Digester.pageByteCount
      let pair = hashPair(
        content.extracting(start..<middle),
        content.extracting(middle..<middle + Digester.pageByteCount))
      hashes.append(pair.0)
      hashes.append(pair.1)
    }
    while hashes.count < count {
      let start = hashes.count * Digester.pageByteCount
      hashes.append(hash(content.extracting(start..<start + Digester.pageByteCount)))
    }
    return hashes
  }

  /// The hashes of two pages of ``pageByteCount`` bytes, wherever they lie.
  public func hashPages(_ first: RawSpan, _ second: RawSpan) -> (ContentHash, ContentHash) {
    precondition(
      first.byteCount == Digester.pageByteCount && second.byteCount == Digester.pageByteCount,
      "whole pages")
    guard Digester.pairsPay else { return (hash(first), hash(second)) }
    return hashPair(first, second)
  }

  private func hashPair(_ one: RawSpan, _ other: RawSpan) -> (ContentHash, ContentHash) {
    var words: [8 of UInt64] = .init(repeating: 0)
    unsafe one.withUnsafeBytes { one in
      unsafe other.withUnsafeBytes { other in
        unsafe withUnsafeMutableBytes(of: &words) { digests in
          guard let first = unsafe one.baseAddress?.assumingMemoryBound(to: UInt8.self),
            let second = unsafe other.baseAddress?.assumingMemoryBound(to: UInt8.self),
            let digest = unsafe digests.baseAddress?.assumingMemoryBound(to: UInt8.self)
          else { return }
          // SAFETY: each span holds a page, the words the two digests of 32 bytes.
          unsafe godwit_sha256_pair(
            first, second, Digester.pageByteCount, digest, digest + 32)
        }
      }
    }
    func hash(_ at: Int) -> ContentHash {
      ContentHash(
        UInt64(littleEndian: words[at]), UInt64(littleEndian: words[at + 1]),
        UInt64(littleEndian: words[at + 2]), UInt64(littleEndian: words[at + 3]))
    }
    return (hash(0), hash(4))
  }

  /// Begins a hash of several pieces.
  public func begin() {
    // SAFETY: context and method are live; an initialised method cannot fail to start again.
    _ = unsafe EVP_DigestInit_ex2(context, method, nil)
  }

  /// Adds a piece.
  public func update(_ content: RawSpan) {
    unsafe content.withUnsafeBytes { buffer in
      // SAFETY: the buffer is valid for its count while this closure runs.
      _ = unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
    }
  }

  /// Adds a piece.
  public func update(_ bytes: [UInt8]) {
    // SAFETY: the array outlives the call, and a UInt8 has no padding.
    let content = unsafe bytes.span.bytes
    update(content)
  }

  /// Ends the hash of the pieces.
  public func finish() -> ContentHash {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    // SAFETY: the four words are the 32 bytes that SHA-256 writes.
    unsafe withUnsafeMutableBytes(of: &words) { buffer in
      _ = unsafe EVP_DigestFinal_ex(
        context, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
    }
    return ContentHash(
      UInt64(littleEndian: words.0), UInt64(littleEndian: words.1),
      UInt64(littleEndian: words.2), UInt64(littleEndian: words.3))
  }
}

extension ContentHash {
  /// Lends the 32 bytes.
  public func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    let words: [4 of UInt64] = [
      word0.littleEndian, word1.littleEndian, word2.littleEndian, word3.littleEndian,
    ]
    // SAFETY: words have no padding, and the span ends with the call.
    return try body(unsafe words.span.bytes)
  }

  /// The hash that 32 bytes are.
  public init(_ bytes: RawSpan) {
    precondition(bytes.byteCount == Self.byteCount, "a SHA-256 has 32 bytes")
    func word(_ index: Int) -> UInt64 {
      // SAFETY: the load is checked, and any bits are an integer.
      UInt64(
        littleEndian: unsafe bytes.unsafeLoadUnaligned(
          fromByteOffset: index * 8, as: UInt64.self))
    }
    self.init(word(0), word(1), word(2), word(3))
  }
}

/// Why nothing can be hashed here; a sentence that begins in lower case.
public struct DigesterError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What is missing, and where to look.
  public let description: String
}
