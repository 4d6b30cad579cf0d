// Stores in folders of their own, and pages to put in them.

import CheckpointStore
import Foundation

/// A folder that is removed when the fixture goes.
final class StoreFixture {
  let path: String
  let store: Store

  init() throws {
    path = NSTemporaryDirectory() + "/godwit-store-\(UUID().uuidString)"
    store = try Store.open(at: path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Saves blocks of whole pages.
  @discardableResult
  func save(
    _ name: String, _ blocks: [(String, [UInt8])],
    options: WriterOptions = WriterOptions(threads: 2),
    state: CheckpointState = CheckpointState(machine: "pc", deviceState: [1, 2, 3])
  ) throws -> CheckpointSummary {
    let writer = try store.beginCheckpoint(named: name, options: options)
    try writer.prepare(
      blocks: blocks.map { CheckpointBlock(name: $0.0, byteCount: UInt64($0.1.count)) })
    for (index, block) in blocks.enumerated() {
      try writer.put(block: index, offset: 0, block.1)
    }
    return try writer.seal(state)
  }

  /// The whole content of a block.
  func content(_ name: String, block: Int = 0) throws -> [UInt8] {
    let checkpoint = try store.checkpoint(named: name)
    var bytes = [UInt8](repeating: 0xAA, count: Int(checkpoint.blocks[block].byteCount))
    try checkpoint.read(block: block, offset: 0, into: &bytes)
    return bytes
  }

  /// The files of the store whose path ends so, largest first.
  func files(_ suffix: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: path).filter { $0.hasSuffix(suffix) }
      .sorted().map { path + "/" + $0 }
  }
}

extension CheckpointWriter {
  /// Puts an array's bytes.
  func put(block: Int, offset: UInt64, _ bytes: [UInt8]) throws {
    try put(block: block, offset: offset, content: bytes.span.bytes)
  }
}

/// A page of noise that a seed determines: it does not compress.
func noisePage(_ seed: UInt64) -> [UInt8] {
  var state = seed &+ 0x9E37_79B9_7F4A_7C15
  var page: [UInt8] = []
  page.reserveCapacity(4096)
  while page.count < 4096 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    var word = state ^ (state >> 29)
    for _ in 0..<8 {
      page.append(UInt8(truncatingIfNeeded: word))
      word >>= 8
    }
  }
  return page
}

/// A page that compresses well and that a seed determines.
func textPage(_ seed: UInt64) -> [UInt8] {
  let text = Array("page \(seed) of a guest that writes the same line again and again. ".utf8)
  return (0..<4096).map { text[$0 % text.count] }
}

/// Zeros.
let zeroPage = [UInt8](repeating: 0, count: 4096)

/// A generator that a seed determines (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
