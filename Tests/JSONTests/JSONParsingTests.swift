// What is read as what, at which byte a refusal is reported, and in what words.

import JSON
import Testing

@Suite struct JSONParsingTests {
  @Test(
    arguments: [
      ("null", JSONValue.null), ("true", true), (" false ", false), ("0", 0), ("-1", -1),
      ("9223372036854775807", .integer(.max)), ("9223372036854775808", .unsigned(1 << 63)),
      ("18446744073709551615", .unsigned(.max)), ("-9223372036854775808", .integer(.min)),
      ("18446744073709551616", .number(18_446_744_073_709_551_616)),
      ("-9223372036854775809", .number(-0x1p63)),
      ("1.5e3", 1500.0), ("1E+2", 100.0), ("2e-1", 0.2), ("\"\"", ""), ("[]", []), ("{}", [:]),
      ("[1, [2], {\"a\":[]}]", [1, [2], ["a": []]]),
      (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
      (#""\u0041\u00e9\u20AC\ud83d\ude00 é€😀""#, "Aé€😀 é€😀"),
    ] as [(String, JSONValue)])
  func `a well formed text is read`(text: String, value: JSONValue) throws {
    #expect(try JSONValue(parsing: text) == value)
    #expect(try JSONValue(parsing: Array(text.utf8).span.bytes) == value)
  }

  @Test func `members keep their order and their repetitions`() throws {
    let value = try JSONValue(parsing: #"{"b":1,"a":2,"b":3}"#)
    #expect(value.members?.map(\.name) == ["b", "a", "b"])
    #expect(value["b"] == 1)
    #expect(value["c"] == nil)
    #expect(value.description == #"{"b":1,"a":2,"b":3}"#)
  }

  @Test func `a negative zero stays negative`() throws {
    let zero = try #require(try JSONValue(parsing: "-0").double)
    #expect(zero.sign == .minus)
  }

  @Test(arguments: [
    ("", 0, JSONError.Problem.endOfText(expected: "a value")),
    ("  ", 2, .endOfText(expected: "a value")),
    ("[1,", 3, .endOfText(expected: "a value")),
    ("[1 2]", 3, .unexpectedByte(0x32, expected: "',' or ']' in a list")),
    ("[1,]", 3, .unexpectedByte(0x5D, expected: "a value")),
    ("{\"a\"}", 4, .unexpectedByte(0x7D, expected: "':' after a name")),
    ("{\"a\":1,}", 7, .unexpectedByte(0x7D, expected: "a member's name in quotes")),
    ("{1:2}", 1, .unexpectedByte(0x31, expected: "a member's name in quotes")),
    ("{\"a\":1", 6, .endOfText(expected: "',' or '}' in an object")),
    ("tru", 3, .endOfText(expected: "the word true")),
    ("nul1", 3, .unexpectedByte(0x31, expected: "the word null")),
    ("01", 1, .trailingText), ("1 x", 2, .trailingText), ("{}{}", 2, .trailingText),
    ("-", 1, .endOfText(expected: "a digit")), ("1.", 2, .endOfText(expected: "a digit")),
    ("1e+", 3, .endOfText(expected: "a digit")),
    ("+1", 0, .unexpectedByte(0x2B, expected: "a value")),
    (".5", 0, .unexpectedByte(0x2E, expected: "a value")),
    ("[1e999]", 1, .numberOutOfRange),
    ("\"a", 2, .endOfText(expected: "the rest of a string")),
    ("\"a\u{1}\"", 2, .controlCharacter(1)), ("\"a\nb\"", 2, .controlCharacter(10)),
    (#""\x""#, 1, .unknownEscape), (#""\"#, 2, .endOfText(expected: "the rest of an escape")),
    (#""\u12"#, 5, .endOfText(expected: "four hexadecimal digits after \\u")),
    (#""\u12g4""#, 5, .unexpectedByte(0x67, expected: "four hexadecimal digits after \\u")),
    (#""\ud800""#, 1, .unpairedSurrogate), (#""\udc00""#, 1, .unpairedSurrogate),
    (#""\ud800\u0041""#, 1, .unpairedSurrogate), (#""\ud800\n""#, 1, .unpairedSurrogate),
  ])
  func `a malformed text is refused where it goes wrong`(
    text: String, offset: Int, problem: JSONError.Problem
  ) {
    #expect(throws: JSONError(offset: offset, problem: problem)) {
      try JSONValue(parsing: text)
    }
  }

  @Test(
    arguments: [
      ([0x22, 0x61, 0xFF, 0x22], 2), ([0x22, 0xC0, 0x80, 0x22], 1),  // never valid, overlong
      ([0x22, 0xC3, 0xA9, 0xED, 0xA0, 0x80, 0x22], 3),  // an encoded surrogate
      ([0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], 1),  // above U+10FFFF
      ([0x22, 0xE2, 0x82, 0x22], 1),  // cut short
    ] as [([UInt8], Int)])
  func `bytes that are not UTF-8 are refused`(bytes: [UInt8], offset: Int) {
    #expect(throws: JSONError(offset: offset, problem: .invalidUTF8)) {
      try JSONValue(parsing: bytes)
    }
  }

  @Test func `limits hold before memory and stack are spent`() {
    let deep = [UInt8](repeating: UInt8(ascii: "["), count: 100_000)
    #expect(throws: JSONError(offset: 128, problem: .tooDeep(limit: 128))) {
      try JSONValue(parsing: deep)
    }
    #expect(throws: JSONError(offset: 5, problem: .tooManyValues(limit: 3))) {
      try JSONValue(parsing: "[1,2,3]", limits: JSONLimits(valueCount: 3))
    }
    #expect(throws: JSONError(offset: 0, problem: .tooLarge(byteCount: 7, limit: 6))) {
      try JSONValue(parsing: "[1,2,3]", limits: JSONLimits(byteCount: 6))
    }
    #expect((try? JSONValue(parsing: "[[1]]", limits: JSONLimits(depth: 2))) == [[1]])
  }

  @Test func `errors are sentences`() {
    let cut = JSONError(offset: 9, problem: .endOfText(expected: "a value"))
    #expect(
      cut.description
        == "Reading JSON failed at byte 9: expected a value, found the end of the text; "
        + "it seems to be cut off.")
    let odd = JSONError(offset: 0, problem: .unexpectedByte(0x0B, expected: "a digit"))
    #expect(
      odd.description == "Reading JSON failed at byte 0: expected a digit, found the byte 0x0B.")
    let problems: [JSONError.Problem] = [
      .tooLarge(byteCount: 2, limit: 1), .tooDeep(limit: 1), .tooManyValues(limit: 1),
      .unexpectedByte(0x20, expected: "a value"), .controlCharacter(1), .unknownEscape,
      .unpairedSurrogate, .invalidUTF8, .numberOutOfRange, .trailingText,
    ]
    for problem in problems {
      let text = JSONError(offset: 3, problem: problem).description
      #expect(text.hasPrefix("Reading JSON failed at byte 3: ") && text.hasSuffix("."))
    }
  }
}
