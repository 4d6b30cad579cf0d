// The machine that is moved in a simulation: small, with content that says where it belongs.

import Wire

/// A machine whose every page can be told from every other.
public struct ModelMachine: Sendable {
  /// The RAM blocks, with the destination's page sizes.
  public let blocks: [RAMBlockDescription]
  /// The target page size in bytes.
  public let targetPageSize: Int
  /// FULL sections, as they stand in a stream.
  public let deviceState: DeviceState
  /// The seed that the content follows from.
  public let seed: UInt64

  /// The section id of the RAM.
  public let ramSectionID: UInt32

  /// The machine that belongs to `seed`: one to four blocks, some made of larger pages.
  ///
  /// Its target pages have 1 KiB, so that more of them go through a simulation; only QEMU's own
  /// parser knows from elsewhere whether a page size below 4 KiB follows the last block, so that a
  /// decoder of ours needs 4 KiB.
  public init(seed: UInt64, targetPageSize: Int = 1024) {
    var random = SeededRandom(seed: seed)
    self.seed = seed
    self.targetPageSize = targetPageSize
    ramSectionID = UInt32(random.below(1000))
    var blocks: [RAMBlockDescription] = []
    for index in 0..<(1 + random.below(4)) {
      let pageSize = targetPageSize << [0, 0, 0, 1, 2][random.below(5)]
      let most = index > 0 ? 6 : random.chance(10) ? 250 : targetPageSize > 1024 ? 24 : 40
      let pages = 1 + random.below(most)
      blocks.append(
        RAMBlockDescription(
          name: ["pc.ram", "vga.vram", "/rom@etc/acpi", "pc.bios"][index],
          usedLength: UInt64(pages * pageSize),
          pageSize: pageSize == targetPageSize ? nil : UInt64(pageSize)))
    }
    self.blocks = blocks
    deviceState = Self.devices(random.next())
  }

  /// The content of a target page: zeros for every third or so.
  public func content(_ page: RAMPageAddress) -> [UInt8]? {
    var random = SeededRandom(
      seed: seed ^ UInt64(page.blockIndex) << 48 ^ page.offset &* 0x1_0001)
    if random.chance(30) { return nil }
    let word = random.next() | 1
    var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: word), count: targetPageSize)
    for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: word >> UInt64(8 * index)) }
    return bytes
  }

  /// The size in bytes of the pages that block `index` is placed in.
  public func hostPageSize(_ index: Int) -> Int {
    Int(blocks[index].pageSize ?? UInt64(targetPageSize))
  }

  /// All host pages.
  public var hostPages: [RAMPageAddress] {
    blocks.indices.flatMap { index in
      stride(from: 0, to: blocks[index].usedLength, by: hostPageSize(index)).map {
        RAMPageAddress(blockIndex: index, offset: $0)
      }
    }
  }

  private static func devices(_ word: UInt64) -> DeviceState {
    var encoder = StreamEncoder()
    let payload = (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
    try? encoder.appendFullSection(
      SectionHeader(id: 7, name: "timer", instanceID: 0, versionID: 2), payload: payload)
    let description =
      #"{"page_size":1024,"devices":[{"name":"timer","instance_id":0,"vmsd_name":"timer","#
      + #""version":2,"fields":[{"name":"ticks","type":"int64","size":8}]}]}"#
    return DeviceState(bytes: encoder.buffer, description: Array(description.utf8))
  }
}
