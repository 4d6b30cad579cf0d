// What clients send that is no command, and what QEMU answers: its own words, as 10.0 says them.

import JSON

/// One piece of a client's bytes and the answers to it.
struct Rubbish: Sendable, CustomStringConvertible {
  var bytes: [UInt8]
  /// The answers in order, as ``Answers`` shortens them.
  var answers: [String]

  init(_ text: String, _ answers: String...) {
    bytes = Array(text.utf8)
    self.answers = answers
  }

  init(_ bytes: [UInt8], _ answers: String...) {
    self.bytes = bytes
    self.answers = answers
  }

  var description: String { String(decoding: bytes.prefix(60), as: UTF8.self) }

  /// A message that is answered, so that one sees that the conversation goes on.
  private static let good = Array(#"{"execute":"query-name","id":1}"#.utf8)
  private static let valueExpected = "JSON parse error, expecting value"

  static let all: [Rubbish] = [
    Rubbish("}", valueExpected),
    Rubbish("]]]", valueExpected, valueExpected, valueExpected),
    Rubbish(#"{"execute": }"#, valueExpected),
    Rubbish(
      "foo {\"execute\":\"query-name\",\"id\":1}", "JSON parse error, invalid keyword 'foo'", "1"),
    Rubbish("{ 5: 3}", "JSON parse error, key is not a string in object"),
    Rubbish(#"{"a" 3}"#, "JSON parse error, missing : in object pair"),
    Rubbish(#"{"a": 3 4}"#, "JSON parse error, expected separator in dict"),
    Rubbish("[3 4]", "JSON parse error, expected separator in list"),
    Rubbish(#"{"a": tru}"#, "JSON parse error, invalid keyword 'tru'"),
    Rubbish(#"{"a": "x\q"}"#, "JSON parse error, invalid escape sequence in string"),
    Rubbish(#"{"execute":"query-name","id":5,}"#, valueExpected),
    Rubbish("{'execute': 'query-name', 'id': 6}", "6"),
    Rubbish([0xFF], "JSON parse error, stray '\u{FFFD}'"),
    Rubbish(
      [0xFF, 0xFF] + good, "JSON parse error, stray '\u{FFFD}'",
      "JSON parse error, stray '\u{FFFD}'", "1"),
    Rubbish(
      Array(#"{"execute": "que"#.utf8) + [0xFF] + good,
      "JSON parse error, stray '\"que\u{FFFD}'", "1"),
    Rubbish(Array("{\"execute\": \"que\n".utf8) + good, "JSON parse error, stray '\"que\n'", "1"),
    Rubbish("@#$%^&*\n", "JSON parse error, stray '@'"),
    Rubbish(Array("@ ".utf8) + good, "JSON parse error, stray '@'", "1"),
    Rubbish([1] + good, "JSON parse error, stray '\u{1}'", "1"),
    Rubbish(#"{"execute":"query-name","id":15,"id":16}"#, "JSON parse error, duplicate key"),
    Rubbish(
      #"{"execute":"query-name","id":"\ud800"}"#,
      "JSON parse error, \\ud800 is not a valid Unicode character"),
    Rubbish(
      Array(#"{"execute":"query-name","id":""#.utf8) + [0xC3, 0x28] + Array("\"}".utf8),
      "JSON parse error, invalid UTF-8 sequence in string"),
    Rubbish(#"{"execute":"query-name","id":%p}"#, "JSON parse error, stray '%'", valueExpected),
    Rubbish("null\n", "QMP input must be a JSON object"),
    Rubbish("12 13\n", "QMP input must be a JSON object", "QMP input must be a JSON object"),
    Rubbish("\"abc\"", "QMP input must be a JSON object"),
    Rubbish("[1,2]", "QMP input must be a JSON object"),
    Rubbish(#"{"execute":5}"#, "QMP input member 'execute' must be a string"),
    Rubbish(#"{"foo":5}"#, "QMP input member 'foo' is unexpected"),
    Rubbish("{}", "QMP input lacks member 'execute'"),
    Rubbish(
      #"{"execute":"stop","foo":5,"id":"x"}"#,
      "\"x\" QMP input member 'foo' is unexpected"),
    Rubbish(
      #"{"execute":"stop","arguments":[1]}"#,
      "QMP input member 'arguments' must be an object"),
    Rubbish(
      #"{"execute":"stop","arguments":null}"#,
      "QMP input member 'arguments' must be an object"),
    Rubbish(
      #"{"execute":"nonsense","id":7}"#,
      "7 CommandNotFound The command nonsense has not been found"),
    Rubbish(#"{"execute":"query-name","arguments":{"x":1}}"#, "Parameter 'x' is unexpected"),
    Rubbish(
      #"{"execute":"qmp_capabilities"}"#,
      "CommandNotFound Capabilities negotiation is already complete, command ignored"),
    Rubbish(#"{"execute":"query-name","id":[1,{"a":null}]}"#, #"[1,{"a":null}]"#),
    Rubbish(#"{"execute":"query-name","id":null}"#, "null"),
    Rubbish(good + good + [0x20, 0x0A] + good, "1", "1", "1"),
  ]
}

/// Answers in the short form that tests compare: the id, and the refusal where it is one.
enum Answers {
  static func short(_ message: JSONValue) -> String {
    var words: [String] = []
    if let id = message["id"] { words.append(id.text()) }
    if let error = message["error"] {
      let kind = error["class"]?.string ?? ""
      if kind != "GenericError" { words.append(kind) }
      words.append(error["desc"]?.string ?? "")
    }
    return words.joined(separator: " ")
  }
}
