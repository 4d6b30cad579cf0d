// From a client's bytes to its messages. A server outlives rubbish: what is no JSON is answered
// with QEMU's text for it, and reading goes on where a new message can begin.
//
//   between --{ [--> inside --balanced--> between        a message
//   between --word--> word --anything else--> between    a message that is no object
//   any --stray byte--> recovering --space or bracket--> between
//   any --limit exceeded--> discarding --line end or 0xFF--> between
//
// The byte 0xFF, which no JSON text holds, always leads back to `between`: clients send it to be
// sure of their ground.

import JSON

/// Cuts a client's bytes into messages, however they are split.
struct QMPCommandFramer: Sendable {
  /// What the bytes hold.
  enum Item: Equatable, Sendable {
    /// A JSON value, which may be no command.
    case value(JSONValue)
    /// Something that is no JSON, with the answer to it.
    case rubbish(QMPRefusal)
  }

  private enum State {
    case between, inside, word, recovering, discarding
    case text(quote: UInt8, isEscaped: Bool)
  }

  private let limits: QMPServerLimits
  private var state = State.between
  private var message: [UInt8] = []
  private var depth = 0
  /// Where in the message the text being read began.
  private var textStart = 0

  init(limits: QMPServerLimits = QMPServerLimits()) { self.limits = limits }

  /// Bytes of an unfinished message held back.
  var pendingByteCount: Int { message.count }

  /// Takes bytes in up to the end of one item.
  /// - Parameter bytes: what was taken is removed from its front.
  /// - Returns: the item; nil where the bytes are used up before one ends.
  mutating func next(_ bytes: inout ArraySlice<UInt8>) -> Item? {
    while let byte = bytes.first {
      if case .word = state, !Self.isWord(byte) {
        // The byte belongs to what follows the word.
        return finished()
      }
      bytes.removeFirst()
      if let item = take(byte) { return item }
    }
    return nil
  }

  private mutating func take(_ byte: UInt8) -> Item? {
    switch state {
    case .discarding:
      if byte == 0x0A || byte == 0xFF { state = .between }
      return nil
    case .recovering where !Self.endsRecovery(byte):
      return nil
    case .recovering, .between: return begin(byte)
    case .inside: return follow(byte)
    case .word:
      message.append(byte)
      return overflow()
    case .text(let quote, let isEscaped): return continueText(byte, quote, isEscaped)
    }
  }

  /// Looks at a byte between messages.
  private mutating func begin(_ byte: UInt8) -> Item? {
    state = .between
    switch byte {
    case 0x20, 0x09, 0x0A, 0x0D: return nil
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      message = [byte]
      depth = 1
      state = .inside
      return nil
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      message = []
      depth = 0
      openText(byte)
      return nil
    case UInt8(ascii: "}"), UInt8(ascii: "]"), UInt8(ascii: ","), UInt8(ascii: ":"):
      return .rubbish(QMPRefusal("JSON parse error, expecting value"))
    case _ where Self.isWord(byte):
      message = [byte]
      state = .word
      return nil
    default: return stray([byte], byte)
    }
  }

  /// Looks at a byte inside a message and outside its texts.
  private mutating func follow(_ byte: UInt8) -> Item? {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      openText(byte)
      return overflow()
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      depth += 1
      message.append(byte)
      guard depth <= limits.depth else {
        return discard("JSON nesting depth limit exceeded")
      }
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      depth -= 1
      message.append(byte)
      if depth == 0 { return finished() }
    case 0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: ","), UInt8(ascii: ":"): message.append(byte)
    case _ where Self.isWord(byte): message.append(byte)
    default: return stray([byte], byte)
    }
    return overflow()
  }

  // MARK: - Texts

  private mutating func openText(_ quote: UInt8) {
    textStart = message.count
    message.append(UInt8(ascii: "\""))
    state = .text(quote: quote, isEscaped: false)
  }

  /// Looks at a byte inside a text; one in single quotes, which QEMU takes too, is rewritten.
  private mutating func continueText(
    _ byte: UInt8, _ quote: UInt8, _ isEscaped: Bool
  ) -> Item? {
    if byte < 0x20 || byte == 0xFF {
      return stray(Array(message[textStart...]) + [byte], byte)
    }
    if isEscaped {
      if byte == UInt8(ascii: "'") { message.removeLast() }
      message.append(byte)
      state = .text(quote: quote, isEscaped: false)
    } else if byte == quote {
      message.append(UInt8(ascii: "\""))
      state = .inside
      if depth == 0 { return finished() }
    } else if byte == UInt8(ascii: "\"") {
      message += [UInt8(ascii: "\\"), byte]
    } else {
      message.append(byte)
      state = .text(quote: quote, isEscaped: byte == UInt8(ascii: "\\"))
    }
    return overflow()
  }

  // MARK: - Ends

  private mutating func finished() -> Item {
    let text = message
    reset(.between)
    return QMPCommandText.read(text, limits)
  }

  private mutating func overflow() -> Item? {
    message.count > limits.messageByteCount ? discard("JSON token size limit exceeded") : nil
  }

  private mutating func discard(_ reason: String) -> Item {
    reset(.discarding)
    return .rubbish(QMPRefusal(reason))
  }

  private mutating func stray(_ token: [UInt8], _ byte: UInt8) -> Item {
    // Control characters and 0xFF end what they break; after others the rest is passed over.
    reset(byte < 0x20 || byte == 0xFF ? .between : .recovering)
    return .rubbish(QMPCommandText.stray(token))
  }

  private mutating func reset(_ state: State) {
    self.state = state
    depth = 0
    message.removeAll(keepingCapacity: message.capacity <= 64 << 10)
  }

  /// What numbers and the words `true`, `false` and `null` are made of.
  private static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
      UInt8(ascii: "."), UInt8(ascii: "_"):
      true
    default: false
    }
  }

  private static func endsRecovery(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x00...0x20, 0xFF, UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "["),
      UInt8(ascii: "]"), UInt8(ascii: ","), UInt8(ascii: ":"):
      true
    default: false
    }
  }
}
