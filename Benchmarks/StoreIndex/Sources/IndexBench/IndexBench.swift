// Fills an index with the hashes of different pages, asks it for some it has and some it has not,
// and says how fast that was and how many bytes a page takes.

import Foundation
import PageHash

@testable import CheckpointStore

/// An index from a page's hash to where it is stored.
protocol PageIndexing {
  /// What it is, for the table.
  var name: String { get }
  /// Adds pages and makes them survive power loss, as a save's end does.
  func insert(_ entries: [PageEntry]) throws
  /// How many of these hashes it has.
  func countFound(_ hashes: [ContentHash]) throws -> Int
  /// The files' bytes on disk.
  func byteCount() throws -> UInt64
}

@main
enum IndexBench {
  static func main() throws {
    let arguments = CommandLine.arguments
    let pages = arguments.count > 1 ? Int(arguments[1]) ?? 1 << 21 : 1 << 21
    let folder =
      (arguments.count > 2 ? arguments[2] : NSTemporaryDirectory())
      + "/index-bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    print("\(pages) pages (\(pages / 262_144) GiB of RAM), in batches of 64, synced at the end")
    let entries = (0..<pages).map { PageEntry(hash: hash(UInt64($0)), location: location($0)) }
    let indexes: [any PageIndexing] = [
      try OwnIndex(folder: folder, pages: pages),
      try LMDBIndex(folder: folder, pages: pages, byHashOnly: true),
      try LMDBIndex(folder: folder, pages: pages, byHashOnly: false),
    ]
    print("index                                insert/s     hit/s    miss/s  bytes/page  % of RAM")
    for index in indexes { try measure(index, entries) }
  }

  private static func measure(_ index: any PageIndexing, _ entries: [PageEntry]) throws {
    let insert = try seconds { try index.insert(entries) }
    var generator = SystemRandomNumberGenerator()
    let count = min(entries.count, 500_000)
    let hits = (0..<count).map { _ in
      entries[Int.random(in: 0..<entries.count, using: &generator)].hash
    }
    let misses = (0..<count).map { hash(UInt64(entries.count + $0)) }
    var found = 0
    let hit = try seconds { found = try index.countFound(hits) }
    precondition(found == count, "a page was not found")
    let miss = try seconds { found = try index.countFound(misses) }
    precondition(found == 0, "a page was found that is not there")
    let bytes = Double(try index.byteCount()) / Double(entries.count)
    print(
      index.name.padding(toLength: 34, withPad: " ", startingAt: 0),
      column(Double(entries.count) / insert), column(Double(count) / hit),
      column(Double(count) / miss), String(format: "%11.1f %9.2f", bytes, bytes / 4096 * 100))
  }

  private static func column(_ rate: Double) -> String { String(format: "%9.0f", rate) }

  private static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    let taken = ContinuousClock.now - start
    return Double(taken.components.seconds) + Double(taken.components.attoseconds) / 1e18
  }

  /// As good as a SHA-256 for an index: 256 evenly spread bits.
  private static func hash(_ seed: UInt64) -> ContentHash {
    func word(_ place: UInt64) -> UInt64 {
      var value = (seed &* 4 &+ place) &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1
      value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
      value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
      return value ^ (value >> 31)
    }
    return ContentHash(word(0), word(1), word(2), word(3))
  }

  private static func location(_ page: Int) -> PageLocation {
    PageLocation(
      pack: UInt32(page / 262_000 + 1), offset: UInt64(page % 262_000) * 4096 + 4096, length: 4096)
  }
}
