// Corpus.swift: the inputs that are known, and how they are damaged.

import Foundation

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

/// The inputs kept beside this file.
struct Corpus {
  /// One kept input.
  struct Entry {
    var kind: Kind
    var bytes: [UInt8]

    init(path: String) throws {
      let url = URL(fileURLWithPath: path)
      guard let kind = Kind(rawValue: url.pathExtension) else {
        let kinds = Kind.allCases.map(\.rawValue).joined(separator: ", .")
        throw UsageError(description: "\(path): the name must end in one of .\(kinds)")
      }
      self.kind = kind
      bytes = [UInt8](try Data(contentsOf: url))
    }
  }

  private let entries: [Entry]

  init(folder: String) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    entries = try names.map { try Entry(path: folder + "/" + $0) }
    guard !entries.isEmpty else { throw UsageError(description: "there is no input in \(folder)") }
  }

  /// An input made of kept ones.
  func damagedInput(_ random: inout SplitMix) -> (Kind, [UInt8]) {
    let entry = entries[random.below(entries.count)]
    var bytes = entry.bytes
    for _ in 0...random.below(5) { damage(&bytes, &random) }
    return (entry.kind, bytes)
  }

  /// What begins, ends or bends something.
  private static let tokens: [[UInt8]] =
    [
      "{", "}", "[", "]", "\"", "\\", ":", ",", " ", "\r\n", "\0", "-", "0", "1", "e", ".", "1e999",
      "\\u", "\\ud83d", "\\ude00", "null", "true", "\"id\": 1", "\"id\": 17", "\"id\": null",
      "\"return\":", "\"error\": {}", "\"event\": \"STOP\"", "\"QMP\": {}", "\"timestamp\": {}",
      "18446744073709551616", "-9223372036854775809", "0x", "KiB", "[[[[[[[[[[[[[[[[", "{\"a\":",
      "{\"return\": {}, \"id\": 2}", "é", "\u{10FFFF}", "0xffffffffffffffff", " 0 B ",
    ].map { Array($0.utf8) } + [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xEF, 0xBB, 0xBF]]

  /// Changes the input in one way.
  private func damage(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    guard !bytes.isEmpty else {
      bytes = [UInt8(truncatingIfNeeded: random.next())]
      return
    }
    let place = random.below(bytes.count)
    let length = min(bytes.count - place, 1 + random.below(random.oneIn(4) ? 256 : 8))
    switch random.below(9) {
    case 0: bytes[place] ^= 1 << UInt8(random.below(8))
    case 1: bytes[place] = UInt8(truncatingIfNeeded: random.next())
    case 2: bytes.removeSubrange(place..<place + length)
    case 3: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: place)
    case 4: bytes.removeLast(bytes.count - place)
    case 5, 6, 7:
      let token = Self.tokens[random.below(Self.tokens.count)]
      let end = random.oneIn(2) ? place : min(bytes.count, place + token.count)
      bytes.replaceSubrange(place..<end, with: token)
    default:
      let other = entries[random.below(entries.count)].bytes
      let start = random.below(max(1, other.count))
      let count = min(other.count - start, 1 + random.below(256))
      bytes.insert(contentsOf: other[start..<start + count], at: place)
    }
  }
}
