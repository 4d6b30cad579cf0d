// Reading: what has arrived, the end, or an error.

import Glibc

extension ByteChannel {
  /// Waits for bytes and reads what has arrived.
  /// - Parameter buffer: where they go; must not be empty.
  /// - Returns: how many bytes were read, from 1; or 0 at the end of the stream.
  /// - Throws: ``TransportError``: `cancelled`, `peerGone` or `failed`.
  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(TransportError) -> Int {
    precondition(unsafe !buffer.isEmpty, "a read needs room")
    while true {
      if wake.isRaised { throw failure("Reading", "from", code: ECANCELED) }
      // SAFETY: the buffer is the caller's, writable for its length.
      let count = SystemCall.repeating {
        unsafe Glibc.read(descriptors.input, buffer.baseAddress, buffer.count)
      }
      if count > 0 { return count }
      if count == 0 {
        if wake.isRaised { throw failure("Reading", "from", code: ECANCELED) }
        return 0
      }
      guard count == -Int(EAGAIN) else { throw failure("Reading", "from", code: Int32(-count)) }
      try waitUntilReady(descriptors.input, POLLIN, "Reading", "from")
    }
  }

  /// Waits for bytes and reads what has arrived.
  /// - Parameter buffer: where they go; must not be empty.
  /// - Returns: how many bytes were read, from 1; or 0 at the end of the stream.
  /// - Throws: ``TransportError``: `cancelled`, `peerGone` or `failed`.
  public func read(into buffer: inout MutableRawSpan) throws(TransportError) -> Int {
    // SAFETY: the span's memory is writable for the duration of the closure.
    try unsafe buffer.withUnsafeMutableBytes { memory throws(TransportError) in
      try unsafe read(into: memory)
    }
  }

  /// Waits for bytes and reads what has arrived; for small messages rather than pages.
  /// - Parameter byteCount: the most that is read, from 1.
  /// - Returns: the bytes; empty at the end of the stream.
  /// - Throws: ``TransportError``: `cancelled`, `peerGone` or `failed`.
  public func read(atMost byteCount: Int) throws(TransportError) -> [UInt8] {
    var failure: TransportError?
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { memory, count in
      do throws(TransportError) {
        // SAFETY: the memory is the new array's; read tells how much of it is initialised.
        count = try unsafe read(into: UnsafeMutableRawBufferPointer(memory))
      } catch {
        failure = error
        count = 0
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Waits until a read would not block: bytes are there, or the end, or an error.
  /// - Parameter deadline: when to give up.
  /// - Returns: false where the deadline came first.
  /// - Throws: ``TransportError``: `cancelled` or `failed`.
  public func waitForBytes(until deadline: ContinuousClock.Instant) throws(TransportError) -> Bool {
    switch SystemCall.wait(
      for: descriptors.input, events: POLLIN, wake: wake, deadline: deadline)
    {
    case .ready: return true
    case .timedOut: return false
    case .woken: throw failure("Reading", "from", code: ECANCELED)
    case .failed(let code): throw failure("Reading", "from", code: code)
    }
  }

  func waitUntilReady(
    _ descriptor: Int32, _ events: Int32, _ verb: String, _ preposition: String
  ) throws(TransportError) {
    switch SystemCall.wait(for: descriptor, events: events, wake: wake, deadline: nil) {
    case .ready, .timedOut: return
    case .woken: throw failure(verb, preposition, code: ECANCELED)
    case .failed(let code): throw failure(verb, preposition, code: code)
    }
  }
}
