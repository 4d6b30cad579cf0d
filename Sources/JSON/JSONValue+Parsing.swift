// From text to value: a recursive descent with bounds, strict in everything RFC 8259 says.

extension JSONValue {
  /// Reads one JSON text, with nothing but white space around it.
  /// - Parameters:
  ///   - bytes: UTF-8 without a byte order mark.
  ///   - limits: how long, deep and rich the text may be.
  /// - Throws: ``JSONError`` with the byte offset of the problem.
  public init(parsing bytes: RawSpan, limits: JSONLimits = .standard) throws(JSONError) {
    let outcome = unsafe bytes.withUnsafeBytes { raw -> Result<JSONValue, JSONError> in
      // SAFETY: the memory is only read, as bytes, and the cursor does not leave this closure.
      unsafe raw.withMemoryRebound(to: UInt8.self) { memory in
        unsafe JSONParser.parse(memory, limits)
      }
    }
    self = try outcome.get()
  }

  /// Reads one JSON text, with nothing but white space around it.
  /// - Parameters:
  ///   - bytes: UTF-8 without a byte order mark.
  ///   - limits: how long, deep and rich the text may be.
  /// - Throws: ``JSONError`` with the byte offset of the problem.
  public init(parsing bytes: [UInt8], limits: JSONLimits = .standard) throws(JSONError) {
    let outcome = unsafe bytes.withUnsafeBufferPointer { memory -> Result<JSONValue, JSONError> in
      // SAFETY: the cursor does not leave this closure.
      unsafe JSONParser.parse(memory, limits)
    }
    self = try outcome.get()
  }

  /// Reads one JSON text, with nothing but white space around it.
  /// - Parameters:
  ///   - text: the text; offsets in errors count its UTF-8 bytes.
  ///   - limits: how long, deep and rich the text may be.
  /// - Throws: ``JSONError`` with the byte offset of the problem.
  public init(parsing text: String, limits: JSONLimits = .standard) throws(JSONError) {
    self = try JSONValue(parsing: Array(text.utf8), limits: limits)
  }
}

/// One pass over one text.
struct JSONParser {
  private var cursor: JSONCursor
  private let limits: JSONLimits
  private var depth = 0
  private var valueCount = 0

  /// Reads the text in `memory`, which is used only until this returns.
  static func parse(
    _ memory: UnsafeBufferPointer<UInt8>, _ limits: JSONLimits
  ) -> Result<JSONValue, JSONError> {
    guard memory.count <= limits.byteCount else {
      let problem = JSONError.Problem.tooLarge(byteCount: memory.count, limit: limits.byteCount)
      return .failure(JSONError(offset: 0, problem: problem))
    }
    guard let cursor = unsafe JSONCursor(memory) else {
      return .failure(JSONError(offset: 0, problem: .endOfText(expected: "a value")))
    }
    var parser = JSONParser(cursor: cursor, limits: limits)
    do throws(JSONError) {
      return .success(try parser.wholeText())
    } catch {
      return .failure(error)
    }
  }

  private init(cursor: JSONCursor, limits: JSONLimits) {
    self.cursor = cursor
    self.limits = limits
  }

  private mutating func wholeText() throws(JSONError) -> JSONValue {
    let value = try value()
    cursor.skipSpace()
    guard cursor.current == nil else { throw failure(.trailingText) }
    return value
  }

  private mutating func value() throws(JSONError) -> JSONValue {
    valueCount += 1
    guard valueCount <= limits.valueCount else {
      throw failure(.tooManyValues(limit: limits.valueCount))
    }
    cursor.skipSpace()
    switch cursor.current {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
    case .some, .none: throw unexpected("a value")
    }
  }

  private mutating func enter() throws(JSONError) {
    guard depth < limits.depth else { throw failure(.tooDeep(limit: limits.depth)) }
    depth += 1
    cursor.advance()
    cursor.skipSpace()
  }

  private mutating func object() throws(JSONError) -> JSONValue {
    try enter()
    var members: [JSONMember] = []
    if !cursor.take(UInt8(ascii: "}")) {
      repeat {
        cursor.skipSpace()
        guard cursor.current == UInt8(ascii: "\"") else {
          throw unexpected("a member's name in quotes")
        }
        let name = try string()
        cursor.skipSpace()
        guard cursor.take(UInt8(ascii: ":")) else { throw unexpected("':' after a name") }
        members.append(JSONMember(name, try value()))
        cursor.skipSpace()
      } while cursor.take(UInt8(ascii: ","))
      guard cursor.take(UInt8(ascii: "}")) else { throw unexpected("',' or '}' in an object") }
    }
    depth -= 1
    return .object(members)
  }

  private mutating func array() throws(JSONError) -> JSONValue {
    try enter()
    var elements: [JSONValue] = []
    if !cursor.take(UInt8(ascii: "]")) {
      repeat {
        elements.append(try value())
        cursor.skipSpace()
      } while cursor.take(UInt8(ascii: ","))
      guard cursor.take(UInt8(ascii: "]")) else { throw unexpected("',' or ']' in a list") }
    }
    depth -= 1
    return .array(elements)
  }

  private mutating func literal(
    _ word: StaticString, _ value: JSONValue
  ) throws(JSONError) -> JSONValue {
    for byte in "\(word)".utf8 where !cursor.take(byte) {
      throw unexpected("the word \(word)")
    }
    return value
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = cursor.offset
    let isNegative = cursor.take(UInt8(ascii: "-"))
    let digits = cursor.offset
    if !cursor.take(UInt8(ascii: "0")) {
      try requireDigits()
    }
    let magnitude = cursor.magnitude(from: digits)
    var isWhole = true
    if cursor.take(UInt8(ascii: ".")) {
      isWhole = false
      try requireDigits()
    }
    if cursor.take(UInt8(ascii: "e")) || cursor.take(UInt8(ascii: "E")) {
      isWhole = false
      if !cursor.take(UInt8(ascii: "+")) { _ = cursor.take(UInt8(ascii: "-")) }
      try requireDigits()
    }
    if isWhole, let magnitude {
      if !isNegative { return JSONValue(magnitude) }
      // A negative zero stays one, as a Double: -0 has no integer.
      if magnitude != 0, magnitude <= Int64.min.magnitude {
        return .integer(Int64(truncatingIfNeeded: 0 &- magnitude))
      }
    }
    guard let text = cursor.text(from: start), let double = Double(text), double.isFinite else {
      throw JSONError(offset: start, problem: .numberOutOfRange)
    }
    return .number(double)
  }

  private mutating func requireDigits() throws(JSONError) {
    let start = cursor.offset
    cursor.skipDigits()
    guard cursor.offset > start else { throw unexpected("a digit") }
  }

  func failure(_ problem: JSONError.Problem) -> JSONError {
    JSONError(offset: cursor.offset, problem: problem)
  }

  private func unexpected(_ expected: String) -> JSONError {
    guard let byte = cursor.current else { return failure(.endOfText(expected: expected)) }
    return failure(.unexpectedByte(byte, expected: expected))
  }
}

// MARK: - Strings

extension JSONParser {
  private mutating func string() throws(JSONError) -> String {
    cursor.advance()
    var whole = try plainText()
    while true {
      switch cursor.current {
      case UInt8(ascii: "\""):
        cursor.advance()
        return whole
      case UInt8(ascii: "\\"):
        whole.unicodeScalars.append(try escape())
        whole += try plainText()
      case .some(let byte): throw failure(.controlCharacter(byte))
      case .none: throw failure(.endOfText(expected: "the rest of a string"))
      }
    }
  }

  private mutating func plainText() throws(JSONError) -> String {
    let start = cursor.offset
    cursor.skipPlainText()
    guard let text = cursor.text(from: start) else {
      throw JSONError(offset: cursor.firstInvalidByte(from: start), problem: .invalidUTF8)
    }
    return text
  }

  private mutating func escape() throws(JSONError) -> Unicode.Scalar {
    let start = cursor.offset
    cursor.advance()
    guard let letter = cursor.current else {
      throw failure(.endOfText(expected: "the rest of an escape"))
    }
    guard letter == UInt8(ascii: "u") else {
      guard let scalar = Self.scalar(escapedAs: letter) else {
        throw JSONError(offset: start, problem: .unknownEscape)
      }
      cursor.advance()
      return scalar
    }
    let first = try codeUnit()
    if let scalar = Unicode.Scalar(first) { return scalar }
    // The initialiser above refuses surrogates only, so this is one: it must be the leading half.
    guard UTF16.isLeadSurrogate(first), cursor.take(UInt8(ascii: "\\")),
      cursor.current == UInt8(ascii: "u")
    else { throw JSONError(offset: start, problem: .unpairedSurrogate) }
    let second = try codeUnit()
    let bits = 0x10000 + (UInt32(first & 0x3FF) << 10) + UInt32(second & 0x3FF)
    guard UTF16.isTrailSurrogate(second), let scalar = Unicode.Scalar(bits) else {
      throw JSONError(offset: start, problem: .unpairedSurrogate)
    }
    return scalar
  }

  /// Reads `uXXXX` at the cursor.
  private mutating func codeUnit() throws(JSONError) -> UInt16 {
    cursor.advance()
    var unit: UInt16 = 0
    for _ in 0..<4 {
      guard let byte = cursor.current, let digit = Self.hexadecimalDigit(byte) else {
        throw unexpected("four hexadecimal digits after \\u")
      }
      unit = unit << 4 | digit
      cursor.advance()
    }
    return unit
  }

  private static func hexadecimalDigit(_ byte: UInt8) -> UInt16? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt16(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  private static func scalar(escapedAs letter: UInt8) -> Unicode.Scalar? {
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): Unicode.Scalar(letter)
    case UInt8(ascii: "b"): "\u{8}"
    case UInt8(ascii: "f"): "\u{C}"
    case UInt8(ascii: "n"): "\n"
    case UInt8(ascii: "r"): "\r"
    case UInt8(ascii: "t"): "\t"
    default: nil
    }
  }
}
