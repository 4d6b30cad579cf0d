// Messages cut out of the bytes of the control link. No descriptor, no thread.
//
//   4 bytes   how many bytes of values follow, big-endian
//   2 bytes   the kind of message
//   2 bytes   how many descriptors came with the frame's first byte: 0 or 1
//   …         the values

/// Takes the frames of a control link apart, however its bytes are split.
struct PagerFrames {
  /// The longest message: the state of the devices with its description, at their own limits.
  static let longestPayload = 160 << 20
  static let headerByteCount = 8

  private var bytes: [UInt8] = []
  private var start = 0

  /// Takes bytes as they came.
  mutating func feed(_ more: [UInt8]) {
    if start > 0, start == bytes.count || start > 1 << 16 {
      bytes.removeFirst(start)
      start = 0
    }
    bytes += more
  }

  /// The next whole message and whether a descriptor came with it; nil until more bytes come.
  mutating func next() throws(PagerError) -> (message: PagerMessage, hasDescriptor: Bool)? {
    guard bytes.count - start >= Self.headerByteCount else { return nil }
    var header = PagerReader(Array(bytes[start..<start + Self.headerByteCount]))
    let count = Int(try header.number(UInt32.self))
    let kind: UInt16 = try header.number()
    let descriptors: UInt16 = try header.number()
    guard count <= Self.longestPayload else {
      throw .protocolViolation("a message of \(count) bytes is announced")
    }
    guard bytes.count - start - Self.headerByteCount >= count else { return nil }
    let first = start + Self.headerByteCount
    let message = try PagerMessage(kind: kind, payload: Array(bytes[first..<first + count]))
    guard descriptors == (message.carriesDescriptor ? 1 : 0) else {
      throw .protocolViolation("a message of kind \(kind) comes with \(descriptors) descriptors")
    }
    start = first + count
    return (message, descriptors == 1)
  }

  /// The frame of a message.
  static func encode(_ message: PagerMessage) -> [UInt8] {
    let (kind, payload) = message.encoded()
    var header = PagerWriter()
    header.add(UInt32(payload.count))
    header.add(kind.rawValue)
    header.add(UInt16(message.carriesDescriptor ? 1 : 0))
    return header.bytes + payload
  }
}
