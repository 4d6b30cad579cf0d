// All of a stopped guest's memory in a file, and the first page in which two such files differ.

import Foundation
import JSON

/// The memory of a guest as its processor would see it: RAM of every block that is mapped, and
/// what stands in ROM.
public struct MemoryDump: Sendable {
  /// A stretch of memory and where it stands in the file.
  public struct Range: Sendable, Equatable, CustomStringConvertible {
    /// The guest's physical address of its first byte.
    public var address: UInt64
    /// Its length in bytes.
    public var byteCount: Int
    /// The RAM block's name, as QEMU's memory tree tells it.
    public var name: String

    /// Which stretch this is, as a failure's message names it.
    public var description: String {
      "\(name) at 0x\(String(address, radix: 16)), \(byteCount) bytes"
    }
  }

  /// The stretches, by rising address.
  public var ranges: [Range]
  /// Each one's content.
  public var contents: [Data]

  /// How many bytes of memory this is.
  public var byteCount: Int { ranges.reduce(0) { $0 + $1.byteCount } }

  /// Says where two dumps differ first: nil where they are equal byte for byte.
  public func firstDifference(from other: MemoryDump) -> String? {
    guard ranges == other.ranges else {
      return "the memory maps differ: \(ranges) and \(other.ranges)"
    }
    for (index, range) in ranges.enumerated() {
      let difference = contents[index].withUnsafeBytes { mine in
        other.contents[index].withUnsafeBytes { Self.firstPage(of: mine, unlike: $0) }
      }
      guard let difference else { continue }
      let address = String(range.address + UInt64(difference.first), radix: 16)
      return """
        \(difference.count) pages differ in \(range), the first at 0x\(address): \
        \(difference.mine) and \(difference.other) from its first differing byte
        """
    }
    return nil
  }

  private typealias Difference = (first: Int, count: Int, mine: [UInt8], other: [UInt8])

  private static func firstPage(
    of mine: UnsafeRawBufferPointer, unlike other: UnsafeRawBufferPointer
  ) -> Difference? {
    guard let a = mine.baseAddress, let b = other.baseAddress else { return nil }
    if memcmp(a, b, mine.count) == 0 { return nil }
    var found: Difference?
    for page in stride(from: 0, to: mine.count, by: 4096) {
      let length = min(4096, mine.count - page)
      guard memcmp(a + page, b + page, length) != 0 else { continue }
      if found == nil {
        let byte = (page..<page + length).first { mine[$0] != other[$0] } ?? page
        let end = min(byte + 16, mine.count)
        found = (byte, 0, Array(mine[byte..<end]), Array(other[byte..<end]))
      }
      found?.count += 1
    }
    return found
  }
}

extension LabGuest {
  /// Reads all memory of the guest, which must stand still.
  public func dumpMemory() throws -> MemoryDump {
    guard try status != "running" else { throw LabError("a running guest's memory changes") }
    let ranges = try memoryRanges()
    let contents = try ranges.map { range in
      let path = "\(directory)/dump-\(range.address)"
      defer { unlink(path) }
      try qmp.execute(
        "pmemsave",
        [
          "val": JSONValue(range.address), "size": JSONValue(range.byteCount),
          "filename": .string(path),
        ])
      return try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    }
    return MemoryDump(ranges: ranges, contents: contents)
  }

  /// The stretches of RAM and ROM in the memory that a processor sees.
  private func memoryRanges() throws -> [MemoryDump.Range] {
    let tree = try qmp.monitor("info mtree -f")
    let views = tree.components(separatedBy: "FlatView #")
    guard let view = views.first(where: { $0.contains("AS \"memory\"") }) else {
      throw LabError("QEMU's memory tree has no view of memory: \(tree)")
    }
    let line = /^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (?:ram|rom|romd|nv-ram)\): (\S+)/
    // Lines end in CR LF, which is one Character and not a line feed.
    let ranges = view.split(whereSeparator: \.isNewline).compactMap { text -> MemoryDump.Range? in
      guard let match = text.firstMatch(of: line), let first = UInt64(match.1, radix: 16),
        let last = UInt64(match.2, radix: 16)
      else { return nil }
      return .init(address: first, byteCount: Int(last - first) + 1, name: String(match.3))
    }
    guard !ranges.isEmpty else { throw LabError("no RAM in QEMU's memory tree: \(view)") }
    return ranges
  }
}
