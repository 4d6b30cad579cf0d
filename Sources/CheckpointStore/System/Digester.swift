// SHA-256 by OpenSSL, its method fetched once and its context used again.

import COpenSSL
import Synchronization

/// Computes SHA-256; one thread at a time may use one.
@safe
final class Digester: @unchecked Sendable {
  private let context: OpaquePointer
  private let method: OpaquePointer

  /// Makes a digester; fails where OpenSSL offers no SHA-256.
  init() throws(StoreError) {
    // SAFETY: both pointers are checked, owned here and freed once, in deinit.
    guard let method = unsafe EVP_MD_fetch(nil, "SHA256", nil) else {
      throw .invalidRequest(
        "OpenSSL offers no SHA-256 here: look at its configuration (openssl version -a).")
    }
    guard let context = unsafe EVP_MD_CTX_new() else {
      unsafe EVP_MD_free(method)
      throw .invalidRequest("there is no memory for a SHA-256 context.")
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
  func hash(_ content: RawSpan) -> ContentHash {
    begin()
    update(content)
    return finish()
  }

  /// The hash of an array's bytes.
  func hash(_ bytes: [UInt8]) -> ContentHash {
    begin()
    update(bytes)
    return finish()
  }

  /// Begins a hash of several pieces.
  func begin() {
    // SAFETY: context and method are live; an initialised method cannot fail to start again.
    _ = unsafe EVP_DigestInit_ex2(context, method, nil)
  }

  /// Adds a piece.
  func update(_ content: RawSpan) {
    unsafe content.withUnsafeBytes { buffer in
      // SAFETY: the buffer is valid for its count while this closure runs.
      _ = unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
    }
  }

  /// Adds a piece.
  func update(_ bytes: [UInt8]) {
    // SAFETY: the array outlives the call, and a UInt8 has no padding.
    let content = unsafe bytes.span.bytes
    update(content)
  }

  /// Ends the hash of the pieces.
  func finish() -> ContentHash {
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
