// Writing: always all of it, in as few system calls as the kernel allows.

import CLinux
import Glibc
import Synchronization

extension ByteChannel {
  /// Writes all of the bytes; blocks while the peer takes none.
  /// - Throws: ``TransportError``: `cancelled`, `peerGone`, `writingEnded` or `failed`. How much
  ///   was written before is unknown then: the stream is lost.
  public func write(_ bytes: RawSpan) throws(TransportError) {
    try unsafe bytes.withUnsafeBytes { memory throws(TransportError) in
      // SAFETY: the memory outlives the call.
      try unsafe write(gathering: [memory])
    }
  }

  /// Writes all of the bytes; blocks while the peer takes none.
  /// - Throws: as ``write(_:)-(RawSpan)``.
  public func write(_ bytes: [UInt8]) throws(TransportError) {
    // SAFETY: the memory outlives the call.
    let outcome = unsafe bytes.withUnsafeBytes { memory -> Result<Void, TransportError> in
      do throws(TransportError) {
        return .success(try unsafe write(gathering: [memory]))
      } catch {
        return .failure(error)
      }
    }
    try outcome.get()
  }

  /// Writes as many of the bytes as there is room for, and never waits.
  ///
  /// Files take all of them.
  /// - Parameters:
  ///   - bytes: some of which go.
  ///   - start: the first of them that goes.
  /// - Returns: how many bytes were written, from 0.
  /// - Throws: as ``write(_:)-(RawSpan)``.
  public func writeAtOnce(_ bytes: [UInt8], from start: Int = 0) throws(TransportError) -> Int {
    var next = start
    while next < bytes.count {
      try checkWritable()
      // SAFETY: the memory outlives the call, and writing only reads through the pointer.
      let count = unsafe bytes.withUnsafeBytes { memory -> Int in
        let piece = unsafe UnsafeRawBufferPointer(rebasing: memory[next...])
        let vector = unsafe iovec(
          iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count)
        return unsafe writeOnce([vector], from: 0, mayWait: false)
      }
      if count == -Int(EAGAIN) { break }
      guard count >= 0 else { throw failure("Writing", "to", code: Int32(-count)) }
      next += count
    }
    return next - start
  }

  /// Writes all of the pieces, one after the other; blocks while the peer takes none.
  /// - Parameter pieces: must stay valid until this returns; empty ones are allowed.
  /// - Throws: as ``write(_:)-(RawSpan)``.
  public func write(gathering pieces: [UnsafeRawBufferPointer]) throws(TransportError) {
    var vectors = unsafe [iovec]()
    unsafe vectors.reserveCapacity(pieces.count)
    for index in unsafe pieces.indices {
      let piece = unsafe pieces[index]
      guard unsafe !piece.isEmpty else { continue }
      // SAFETY: writing only reads through the pointer.
      unsafe vectors.append(
        iovec(iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count))
    }
    var next = 0
    while unsafe next < vectors.count {
      try checkWritable()
      let count = unsafe writeOnce(vectors, from: next)
      if count == -Int(EAGAIN) {
        try waitUntilReady(descriptors.output, POLLOUT, "Writing", "to")
      } else if count < 0 {
        throw failure("Writing", "to", code: Int32(-count))
      } else {
        unsafe Self.skip(count, of: &vectors, from: &next)
      }
    }
  }

  private func checkWritable() throws(TransportError) {
    guard isWritingEnded.load(ordering: .acquiring) else { return }
    if wake.isRaised { throw failure("Writing", "to", code: ECANCELED) }
    throw .writingEnded(peer: peer)
  }

  /// The kernel's limit on pieces in one call (IOV_MAX).
  private static let pieceLimit = 1024

  /// - Parameter mayWait: whether a socket may wait for room; the others never do here.
  private func writeOnce(_ vectors: [iovec], from first: Int, mayWait: Bool = true) -> Int {
    // SAFETY: first < vectors.count, and the pieces are valid by the caller's contract.
    unsafe vectors.withUnsafeBufferPointer { memory -> Int in
      let count = min(memory.count - first, Self.pieceLimit)
      guard let base = memory.baseAddress else { return 0 }
      if kind == .socket {
        while true {
          let sent = unsafe godwit_send_pieces(descriptors.output, base + first, count, mayWait)
          if sent != -Int(EINTR) { return sent }
        }
      }
      return SystemCall.repeating {
        unsafe writev(descriptors.output, base + first, Int32(count))
      }
    }
  }

  /// Moves past bytes that were written.
  private static func skip(_ byteCount: Int, of vectors: inout [iovec], from next: inout Int) {
    var left = byteCount
    while left > 0 {
      let length = unsafe vectors[next].iov_len
      guard left < length else {
        left -= length
        next += 1
        continue
      }
      // SAFETY: left < length, so the pointer stays inside the piece.
      unsafe vectors[next].iov_base += left
      unsafe vectors[next].iov_len = length - left
      left = 0
    }
  }
}
