// Recorder.swift: a visitor that keeps what it was told in a form that can be compared.

package import Wire

/// One call of a visitor.
package enum Call: Equatable {
  case event(StreamEvent)
  case page(RAMPageAddress, digest: UInt64, size: Int)
  case zero(RAMPageAddress, fill: UInt8)
  case delta(RAMPageAddress, digest: UInt64, size: Int)
  case hash(RAMPageAddress, digest: UInt64, size: Int)
}

/// Keeps every call, pages by their digest.
package struct Recorder: StreamVisitor {
  package var calls: [Call] = []

  package init() {}

  package mutating func visit(_ event: StreamEvent) { calls.append(.event(event)) }

  package mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) {
    calls.append(.page(page, digest: digest(content), size: content.byteCount))
  }

  package mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) {
    calls.append(.zero(page, fill: fill))
  }

  package mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) {
    calls.append(.delta(page, digest: digest(xbzrle), size: xbzrle.byteCount))
  }

  package mutating func visitPageHash(_ page: RAMPageAddress, digest: RawSpan) {
    calls.append(.hash(page, digest: self.digest(digest), size: digest.byteCount))
  }

  /// A digest that any changed byte changes, as far as a test needs it.
  private func digest(_ bytes: RawSpan) -> UInt64 {
    var state: UInt64 = 0xcbf2_9ce4_8422_2325
    var offset = 0
    while offset + 8 <= bytes.byteCount {
      // SAFETY: the load is inside the span, and any bit pattern is an integer.
      let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
      state = (state ^ word) &* 0x9e37_79b9_7f4a_7c15
      state ^= state >> 29
      offset += 8
    }
    while offset < bytes.byteCount {
      // SAFETY: as above.
      let byte = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
      state = (state ^ UInt64(byte)) &* 0x100_0000_01b3
      offset += 1
    }
    return state
  }
}

/// What came of decoding an input.
package struct Outcome: Equatable {
  package var calls: [Call]
  package var error: WireError?
  package var offset: UInt64

  /// Decodes `input`, fed in pieces of the sizes that `pieceSize` gives.
  package init(
    _ input: [UInt8], options: StreamDecoder.Options, pieceSize: () -> Int
  ) {
    var recorder = Recorder()
    var decoder = StreamDecoder(options: options)
    error = nil
    do {
      var position = 0
      while position < input.count {
        let end = min(input.count, position + max(1, pieceSize()))
        try input.withBytes(position..<end) { piece in
          try decoder.feed(piece, to: &recorder)
        }
        position = end
      }
      try decoder.finish(to: &recorder)
    } catch let fault as WireError {
      error = fault
    } catch {
      fatalError("a recorder throws nothing, and yet: \(error)")
    }
    calls = recorder.calls
    // Where a decoder stands after an error says nothing; the error itself does.
    offset = error == nil ? decoder.offset : 0
  }
}

extension [UInt8] {
  /// Lends the bytes in `range` to `body`.
  package func withBytes<R>(_ range: Range<Int>, _ body: (RawSpan) throws -> R) rethrows -> R {
    // SAFETY: the span ends with the call, and the array is not changed during it.
    try body(unsafe span.bytes.extracting(range))
  }
}
