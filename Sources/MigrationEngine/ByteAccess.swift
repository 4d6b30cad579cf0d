// Arrays of bytes as spans, and reads from a channel into them: all of the engine's use of memory
// by address, but for the buffer of `PageReader`.

internal import Transport
internal import Wire

extension [UInt8] {
  /// Lends the bytes.
  func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    // SAFETY: every byte of an array of bytes is initialised, and the span ends with the call.
    try body(unsafe span.bytes)
  }
}

/// Room for what a channel receives.
struct ReceiveBuffer: ~Copyable {
  private var bytes: [UInt8]
  private var count = 0

  init(byteCount: Int) {
    bytes = [UInt8](repeating: 0, count: byteCount)
  }

  /// Waits for bytes and says how many came: 0 at the end.
  mutating func fill(from channel: ByteChannel) throws(TransportError) -> Int {
    var room = bytes.mutableSpan
    // SAFETY: any bytes may be written into an array of bytes.
    var memory = unsafe room.mutableBytes
    count = try channel.read(into: &memory)
    return count
  }

  /// Lends what came last.
  func withReceived<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    // SAFETY: as for `withBytes`.
    try body(unsafe bytes.span.bytes.extracting(first: count))
  }
}

extension [UInt8] {
  /// Turns the page that these bytes are into what an XBZRLE delta makes of it.
  mutating func apply(delta: RawSpan) throws(WireError) {
    var room = mutableSpan
    // SAFETY: any bytes may be written into an array of bytes.
    var memory = unsafe room.mutableBytes
    try XBZRLE.decode(delta, onto: &memory)
  }
}
