// Properties over generated values and damaged texts, each from a printed seed.

import JSON
import Testing

@Suite struct JSONPropertyTests {
  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `what is written is read back equal, compact and pretty`(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    for _ in 0..<50 {
      let value = random.value(depth: 4)
      #expect(try JSONValue(parsing: value.bytes()) == value)
      #expect(try JSONValue(parsing: value.bytes(pretty: true)) == value)
    }
  }

  @Test(arguments: 1...10 as ClosedRange<UInt64>)
  func `every cut of a text is refused as cut off`(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let bytes = JSONValue.array([random.value(depth: 3)]).bytes()
    for length in 0..<min(bytes.count, 400) {
      #expect(throws: JSONError.self) { try JSONValue(parsing: Array(bytes[..<length])) }
    }
  }

  @Test(arguments: 1...10 as ClosedRange<UInt64>)
  func `damaged texts are read or refused, and what is read can be written`(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    for _ in 0..<200 {
      var bytes = random.value(depth: 3).bytes()
      for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
        let index = Int.random(in: bytes.indices, using: &random)
        bytes[index] = UInt8.random(in: 0...255, using: &random)
      }
      guard let value = try? JSONValue(parsing: bytes) else { continue }
      #expect(try JSONValue(parsing: value.bytes()) == value)
    }
  }

  @Test func `a mebibyte of description is read within a second in a debug build`() throws {
    let field: JSONValue = ["name": "regs", "array_len": 16, "type": "uint64", "size": 8]
    let device: JSONValue = [
      "name": "cpu", "instance_id": 0, "version": 12,
      "fields": .array(Array(repeating: field, count: 100)),
    ]
    let whole: JSONValue = [
      "page_size": 4096, "devices": .array(Array(repeating: device, count: 200)),
    ]
    let bytes = whole.bytes()
    #expect(bytes.count > 1 << 20)
    let clock = ContinuousClock()
    var value = JSONValue.null
    let duration = try clock.measure { value = try JSONValue(parsing: bytes) }
    #expect(value == whole)
    // The machine may be busy: the bound is generous, a quadratic reader would still miss it.
    #expect(duration < .seconds(5), "took \(duration)")
    print("JSON: \(bytes.count) bytes read in \(duration)")
  }

  @Test func `accessors answer only for their shape`() {
    let value: JSONValue = [
      "n": 3, "big": .unsigned(.max), "x": 1.5, "s": "t", "l": [1], "b": true,
    ]
    #expect(value["n"]?.int == 3 && value["n"]?.uint64 == 3 && value["n"]?.double == 3)
    #expect(value["big"]?.int64 == nil && value["big"]?.uint64 == .max)
    #expect(value["x"]?.int == nil && value["x"]?.double == 1.5)
    #expect(value["s"]?.string == "t" && value["s"]?.bool == nil && value["s"]?["t"] == nil)
    #expect(value["l"]?[0] == 1 && value["l"]?[1] == nil && value["l"]?.array?.count == 1)
    #expect(value["b"]?.bool == true && JSONValue.null.isNull && value["n"]?.kind == "a number")
    #expect(JSONValue(UInt64(7)) == 7 && JSONValue(UInt64.max) == .unsigned(.max))
    #expect(JSONValue.integer(-1).uint64 == nil)
    #expect(JSONValue.number(.infinity).description == "null")
  }

  @Test func `the pretty form indents by two spaces`() {
    let value: JSONValue = ["a": [1, [:]], "b": []]
    #expect(
      value.text(pretty: true) == """
        {
          "a": [
            1,
            {}
          ],
          "b": []
        }
        """)
  }
}

/// splitmix64: the same numbers for the same seed on every machine.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  mutating func value(depth: Int) -> JSONValue {
    switch Int.random(in: 0...(depth > 0 ? 8 : 6), using: &self) {
    case 0: return .null
    case 1: return .bool(Bool.random(using: &self))
    case 2:
      return .integer(Int64(truncatingIfNeeded: next() >> UInt64.random(in: 0...63, using: &self)))
    case 3: return JSONValue(next())
    case 4:
      return .number(
        Double(bitPattern: next()).isFinite ? Double.random(in: -1e9...1e9, using: &self) : 0.5)
    case 5, 6: return .string(text())
    case 7:
      return .array((0..<Int.random(in: 0...5, using: &self)).map { _ in value(depth: depth - 1) })
    default:
      return .object(
        (0..<Int.random(in: 0...5, using: &self)).map { _ in
          JSONMember(text(), value(depth: depth - 1))
        })
    }
  }

  private mutating func text() -> String {
    let alphabet: [Unicode.Scalar] = [
      "a", "\"", "\\", "\n", "\u{1}", "é", "€", "😀", "/", " ", "\u{7F}",
    ]
    var text = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...8, using: &self) {
      text.append(alphabet[Int.random(in: alphabet.indices, using: &self)])
    }
    return String(text)
  }
}
