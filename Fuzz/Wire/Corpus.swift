// Corpus.swift: the inputs that are known, and how they are damaged.

import Foundation
import WireLab

/// What reads an input; the extension of its file says so.
enum Kind: String, CaseIterable {
  /// A stream from its beginning.
  case stream
  /// A stream of a machine that sends no description.
  case undescribed
  /// A connection that carries on a postcopy.
  case recovery
  /// The reverse direction.
  case returnpath
  /// A delta-encoded page.
  case delta
}

/// The inputs kept beside this file.
struct Corpus {
  /// One kept input.
  struct Entry {
    var kind: Kind
    var bytes: [UInt8]

    init(path: String) throws {
      let url = URL(fileURLWithPath: path)
      kind = Kind(rawValue: url.pathExtension) ?? .stream
      bytes = [UInt8](try Data(contentsOf: url))
    }
  }

  private let entries: [Entry]
  /// The places of small entries, which are chosen far more often.
  private let small: [Int]

  init(folder: String) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    var entries: [Entry] = []
    for name in names where Kind.allCases.contains(where: { name.hasSuffix(".\($0.rawValue)") }) {
      entries.append(try Entry(path: folder + "/" + name))
    }
    guard !entries.isEmpty else {
      throw Options.UsageError(description: "there is no input in \(folder)")
    }
    self.entries = entries
    let limit = 2500
    let few = entries.indices.filter { entries[$0].bytes.count <= limit }
    small = few.isEmpty ? Array(entries.indices) : few
  }

  /// An input made of kept ones.
  func damagedInput(_ random: inout SplitMix) -> (Kind, [UInt8]) {
    let place =
      random.oneIn(64) ? random.below(entries.count) : small[random.below(small.count)]
    var bytes = entries[place].bytes
    for _ in 0...random.below(5) { damage(&bytes, &random) }
    return (entries[place].kind, bytes)
  }

  /// Numbers at which things change, and bytes that begin something.
  private static let tokens: [[UInt8]] = [
    [0], [1], [2], [3], [4], [5], [6], [7], [8], [0x7e], [0xff], [0x7f], [0x80],
    [0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [0x7f, 0xff, 0xff, 0xff], [0, 1, 0, 0],
    [0x10, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 0x10], [0, 0, 0, 0, 0, 0, 2, 0],
    [0, 0, 0, 0, 0, 0, 0, 0x28], [0, 0, 0, 0, 0, 0, 0, 0x22], [0, 0, 0, 0, 0, 0, 1, 0x20],
    [0, 6, 0, 0, 0, 2, 0x7b, 0x7d], [0x7e, 0, 0, 0, 1], [0x7e, 0, 0, 0, 2],
    [8, 0, 4, 0, 0], [8, 0, 7, 0, 4, 0, 0, 0, 20], [4, 0, 0, 0, 9, 1, 0x61],
    [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Array("\"size\":".utf8),
    Array("\"array_len\":4294967296,".utf8), Array("{\"devices\":[".utf8),
  ]

  /// Changes the input in one way.
  private func damage(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    guard !bytes.isEmpty else {
      bytes = [UInt8(truncatingIfNeeded: random.next())]
      return
    }
    let place = random.below(bytes.count)
    let length = min(bytes.count - place, 1 + random.below(random.oneIn(4) ? 256 : 8))
    switch random.below(10) {
    case 0, 1: bytes[place] ^= 1 << UInt8(random.below(8))
    case 2: bytes[place] = UInt8(truncatingIfNeeded: random.next())
    case 3: bytes.removeSubrange(place..<place + length)
    case 4: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: place)
    case 5: bytes.removeLast(bytes.count - place)
    case 6, 7:
      let token = Self.tokens[random.below(Self.tokens.count)]
      let end = random.oneIn(2) ? place : min(bytes.count, place + token.count)
      bytes.replaceSubrange(place..<end, with: token)
    case 8:
      let other = entries[small[random.below(small.count)]].bytes
      let start = random.below(max(1, other.count))
      let count = min(other.count - start, 1 + random.below(128))
      bytes.insert(contentsOf: other[start..<start + count], at: place)
    default:
      let other = entries[small[random.below(small.count)]].bytes
      bytes.replaceSubrange(place..., with: other[min(place, other.count)...])
    }
  }
}
