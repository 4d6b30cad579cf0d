// The RAM blocks of a machine, which only the human monitor tells.

import JSON

/// A RAM block of a running QEMU.
public struct RAMBlockInfo: Equatable, Sendable {
  /// Its name in migration streams, such as `pc.ram`.
  public var name: String
  /// The size of the pages behind it in bytes, a power of two.
  public var pageByteCount: Int
  /// How much of it is in use, in bytes; this much migrates.
  public var usedByteCount: UInt64
  /// How far it can grow, in bytes.
  public var maximumByteCount: UInt64

  /// A block.
  public init(
    name: String, pageByteCount: Int, usedByteCount: UInt64, maximumByteCount: UInt64
  ) {
    self.name = name
    self.pageByteCount = pageByteCount
    self.usedByteCount = usedByteCount
    self.maximumByteCount = maximumByteCount
  }

  /// Reads what `info ramblock` prints.
  ///
  /// A line is a name, a page size with its unit, an offset, used and total bytes, and since
  /// QEMU 8 an address and `rw` or `ro`. The first hexadecimal number anchors the columns, since a
  /// name may hold anything.
  /// A block without a name is a memory backend that no device uses; it does not migrate and is
  /// left out.
  /// - Returns: the blocks in QEMU's order; nil where a line is none of these.
  public static func parse(_ text: String) -> [RAMBlockInfo]? {
    var blocks: [RAMBlockInfo] = []
    let lines = text.unicodeScalars.split { $0 == "\n" || $0 == "\r" }.map { String($0) }
    for line in lines {
      let words = line.split(separator: " ")
      if words.isEmpty || words.starts(with: ["Block", "Name"]) { continue }
      guard let block = RAMBlockInfo(words) else { return nil }
      if !block.name.isEmpty { blocks.append(block) }
    }
    return blocks
  }

  private init?(_ words: [Substring]) {
    guard let anchor = words.firstIndex(where: { Self.hexadecimal($0) != nil }), anchor >= 2,
      words.count >= anchor + 3,
      let used = Self.hexadecimal(words[anchor + 1]),
      let maximum = Self.hexadecimal(words[anchor + 2]),
      let page = Self.byteCount(words[anchor - 2], unit: words[anchor - 1]),
      used <= maximum, page > 0, page & (page - 1) == 0
    else { return nil }
    self.init(
      name: words[..<(anchor - 2)].joined(separator: " "), pageByteCount: page,
      usedByteCount: used, maximumByteCount: maximum)
  }

  private static func hexadecimal(_ word: Substring) -> UInt64? {
    guard word.hasPrefix("0x") else { return nil }
    return UInt64(word.dropFirst(2), radix: 16)
  }

  private static func byteCount(_ number: Substring, unit: Substring) -> Int? {
    let shifts: [Substring: Int] = ["B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40]
    guard let value = Int(number), let shift = shifts[unit], value > 0, value < 1 << 20 else {
      return nil
    }
    return value << shift
  }
}

extension QMPClient {
  /// The RAM blocks in QEMU's order: `info ramblock` of the human monitor.
  public func ramBlocks() async throws(QMPError) -> [RAMBlockInfo] {
    let text = try await humanMonitor("info ramblock")
    guard let blocks = RAMBlockInfo.parse(text), !blocks.isEmpty else {
      throw .unexpectedReply(command: "info ramblock", missing: "a table of RAM blocks")
    }
    return blocks
  }

  /// Has a line carried out by the human monitor: `human-monitor-command`.
  /// - Parameter line: as a person would type it.
  /// - Returns: what the monitor prints; errors too are only printed.
  public func humanMonitor(_ line: String) async throws(QMPError) -> String {
    let reply = try await reply("human-monitor-command", ["command-line": .string(line)])
    return try reply.require(reply.value.string, "text")
  }
}
