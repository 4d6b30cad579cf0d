// FuzzQMP.swift: the fuzz target of QMP and JSON.

import FuzzFrame

/// Feeds damaged conversations to the session and the readers, again and again.
///
/// An input must mean the same however it is split, and what is read must come back when it is
/// written.
@main
enum FuzzQMP: FuzzTarget {
  /// What reads an input; the extension of its file says so.
  enum Kind: String, CaseIterable {
    /// What a monitor sends first.
    case opening
    /// What a monitor answers to sixteen commands.
    case client
    /// What a client sends.
    case server
    /// Any JSON text.
    case json
    /// What `info ramblock` prints.
    case ramblock
  }

  static let name = "fuzz-qmp"
  static let file = #filePath
  static let memoryLimit = 256

  static let tokens: [[UInt8]] =
    [
      "{", "}", "[", "]", "\"", "\\", ":", ",", " ", "\r\n", "\0", "-", "0", "1", "e", ".", "1e999",
      "\\u", "\\ud83d", "\\ude00", "null", "true", "\"id\": 1", "\"id\": 17", "\"id\": null",
      "\"return\":", "\"error\": {}", "\"event\": \"STOP\"", "\"QMP\": {}", "\"timestamp\": {}",
      "18446744073709551616", "-9223372036854775809", "0x", "KiB", "[[[[[[[[[[[[[[[[", "{\"a\":",
      "{\"return\": {}, \"id\": 2}", "é", "\u{10FFFF}", "0xffffffffffffffff", " 0 B ",
    ].map { Array($0.utf8) } + [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xEF, 0xBB, 0xBF]]
}
