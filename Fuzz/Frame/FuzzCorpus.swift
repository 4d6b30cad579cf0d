// FuzzCorpus.swift: the inputs that are known, and how they are damaged.

import Foundation

/// The inputs kept beside a target.
struct FuzzCorpus<Target: FuzzTarget> {
  /// One kept input.
  struct Entry {
    var kind: Target.Kind
    var bytes: [UInt8]

    init(path: String) throws {
      let url = URL(fileURLWithPath: path)
      guard let kind = Target.Kind(rawValue: url.pathExtension) else {
        let kinds = Target.Kind.allCases.map(\.rawValue).joined(separator: ", .")
        throw FuzzUsageError(description: "\(path): the name must end in one of .\(kinds)")
      }
      self.kind = kind
      bytes = [UInt8](try Data(contentsOf: url))
    }
  }

  /// Inputs up to this size in bytes are chosen far more often than others.
  private static var smallSize: Int { 2500 }

  private let entries: [Entry]
  /// The places of the small entries.
  private let small: [Int]

  init(folder: String) throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    let entries = try names.map { try Entry(path: folder + "/" + $0) }
    guard !entries.isEmpty else {
      throw FuzzUsageError(description: "there is no input in \(folder)")
    }
    self.entries = entries
    let few = entries.indices.filter { entries[$0].bytes.count <= Self.smallSize }
    small = few.isEmpty ? Array(entries.indices) : few
  }

  /// An input made of kept ones.
  func damagedInput(_ random: inout SplitMix) -> (Target.Kind, [UInt8]) {
    let place =
      random.oneIn(64) ? random.below(entries.count) : small[random.below(small.count)]
    var bytes = entries[place].bytes
    for _ in 0...random.below(5) { damage(&bytes, &random) }
    return (entries[place].kind, bytes)
  }

  /// Changes the input in one way.
  private func damage(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    guard !bytes.isEmpty else {
      bytes = [UInt8(truncatingIfNeeded: random.next())]
      return
    }
    let place = random.below(bytes.count)
    let length = min(bytes.count - place, 1 + random.below(random.oneIn(4) ? 256 : 8))
    switch random.below(11) {
    case 0, 1: bytes[place] ^= 1 << UInt8(random.below(8))
    case 2: bytes[place] = UInt8(truncatingIfNeeded: random.next())
    case 3: bytes.removeSubrange(place..<place + length)
    case 4: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: place)
    case 5: bytes.removeLast(bytes.count - place)
    case 6, 7, 8:
      let token = Target.tokens[random.below(Target.tokens.count)]
      let end = random.oneIn(2) ? place : min(bytes.count, place + token.count)
      bytes.replaceSubrange(place..<end, with: token)
    case 9:
      let other = entries[small[random.below(small.count)]].bytes
      let start = random.below(max(1, other.count))
      let count = min(other.count - start, 1 + random.below(256))
      bytes.insert(contentsOf: other[start..<start + count], at: place)
    default:
      let other = entries[small[random.below(small.count)]].bytes
      bytes.replaceSubrange(place..., with: other[min(place, other.count)...])
    }
  }
}
