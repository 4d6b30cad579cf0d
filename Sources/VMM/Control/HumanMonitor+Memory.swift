// What `info` shows of a machine's memory: the tree of regions, the flat view, the RAM blocks.

import GuestMemory
import QMP

extension HumanMonitor {
  static func memoryTree(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    if words.contains("-f") { return flatView(human.machine) }
    return ["address-space: memory"] + human.machine.memoryTree.map { line(of: $0) } + [""]
  }

  private static func line(of region: NestedRegion) -> String {
    let range = region.range
    var line = String(repeating: "  ", count: region.depth + 1)
    line += span(range.start.rawValue, range)
    line += " (prio \(region.priority), \(range.kind.rawValue)): "
    if let alias = region.alias {
      line += "alias \(range.name) @\(alias) \(span(range.offset, range))"
    } else {
      line += range.name
    }
    return region.isEnabled ? line : line + " [disabled]"
  }

  private static func flatView(_ machine: any MachineControl) -> [String] {
    ["FlatView #0", " AS \"memory\", root: system", " Root memory region: system"]
      + machine.memoryMap.map { range in
        let part = range.offset == 0 ? "" : " @\(hexadecimal(range.offset, 16))"
        return "  \(span(range.start.rawValue, range)) (prio 0, \(range.kind.rawValue)): "
          + "\(range.name)\(part)"
      } + [""]
  }

  /// The first and last address of a range's length from `start` on.
  private static func span(_ start: UInt64, _ range: MappedRange) -> String {
    "\(hexadecimal(start, 16))-\(hexadecimal(start &+ range.byteCount &- 1, 16))"
  }

  static func ramBlocks(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let title = [
      pad("Block Name", to: 24), pad("PSize", to: 8), pad("Offset", to: 19), pad("Used", to: 18),
      pad("Total", to: 18), pad("HVA", to: 18), " RO",
    ]
    return [title.joined(separator: " ")] + human.machine.ramBlocks.map { line(of: $0) }
  }

  private static func line(of block: RAMBlockFacts) -> String {
    [
      pad(block.name, to: 24), pad("\(block.pageByteCount >> 10) KiB", to: 8),
      " 0x" + hexadecimal(block.offset, 16), "0x" + hexadecimal(block.usedByteCount, 16),
      "0x" + hexadecimal(block.maximumByteCount, 16), "0x" + hexadecimal(block.hostAddress, 16),
      block.isReadOnly ? " ro" : " rw",
    ].joined(separator: " ")
  }

  /// Spaces in front of a text up to a width.
  private static func pad(_ text: String, to width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }

  /// Digits in base 16 with zeros in front.
  static func hexadecimal(_ value: some BinaryInteger, _ width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
