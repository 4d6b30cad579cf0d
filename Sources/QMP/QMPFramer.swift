// From bytes to whole messages. A message is one JSON object; QEMU ends it with a line end, but
// with pretty=on it spreads it over lines, so that only the braces tell where it ends.

public import JSON

/// Cuts a stream of bytes into JSON objects, however the bytes are split.
public struct QMPFramer: Sendable {
  /// The longest message accepted, in bytes.
  public let messageByteLimit: Int
  /// The most values in a message: a small text can hold many, and each takes memory.
  ///
  /// QEMU's schema has some ten thousand.
  private static let valueLimit = 1 << 20
  private var message: [UInt8] = []
  private var depth = 0
  private var isInString = false
  private var isEscaped = false

  /// An empty framer.
  /// - Parameter messageByteLimit: the longest message accepted, in bytes. QEMU's longest is its
  ///   schema, some hundred KiB.
  public init(messageByteLimit: Int = 16 << 20) {
    self.messageByteLimit = messageByteLimit
  }

  /// Bytes of an unfinished message held back.
  public var pendingByteCount: Int { message.count }

  /// Takes bytes in.
  /// - Parameters:
  ///   - bytes: what has arrived.
  ///   - handle: is given the messages that the bytes complete, each before the next is looked at.
  /// - Throws: ``QMPViolation``, the framer's own or what `handle` throws; the framer is of no use
  ///   afterwards.
  public mutating func receive(
    _ bytes: [UInt8], _ handle: (JSONValue) throws(QMPViolation) -> Void
  ) throws(QMPViolation) {
    var start = 0
    for index in bytes.indices {
      let byte = bytes[index]
      if depth == 0 {
        guard try opens(byte) else { continue }
        start = index
      } else {
        follow(byte)
      }
      guard message.count + (index - start) < messageByteLimit else {
        throw .messageTooLong(limit: messageByteLimit)
      }
      guard depth == 0 else { continue }
      message += bytes[start...index]
      start = index + 1
      try handle(try parsed())
    }
    if depth > 0 { message += bytes[start...] }
  }

  /// Looks at a byte between messages.
  private mutating func opens(_ byte: UInt8) throws(QMPViolation) -> Bool {
    switch byte {
    case UInt8(ascii: "{"):
      depth = 1
      return true
    case 0x20, 0x0A, 0x0D, 0x09: return false
    default: throw .strayByte(byte)
    }
  }

  /// Looks at a byte inside a message.
  ///
  /// The reader checks everything else.
  private mutating func follow(_ byte: UInt8) {
    if isInString {
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isInString = false
      }
      return
    }
    switch byte {
    case UInt8(ascii: "\""): isInString = true
    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
    case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
    default: break
    }
  }

  private mutating func parsed() throws(QMPViolation) -> JSONValue {
    defer { message.removeAll(keepingCapacity: message.capacity <= 64 << 10) }
    do throws(JSONError) {
      let limits = JSONLimits(byteCount: messageByteLimit, valueCount: Self.valueLimit)
      return try JSONValue(parsing: message, limits: limits)
    } catch {
      throw .notJSON(error)
    }
  }
}
