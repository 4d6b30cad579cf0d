// The tables that a processor in 64-bit mode begins with: all memory mapped one to one.

import GuestMemory

/// Page and descriptor tables for a start in 64-bit mode.
enum StartTables {
  private static let pageSize: UInt64 = 4096
  private static let present: UInt64 = 1 | 2
  private static let large: UInt64 = 1 << 7
  /// As many GiB as there is room for tables of, below the command line.
  private static let mostGibibytes: UInt64 = 64

  /// Tables that map addresses 0 upwards one to one in pages of 2 MiB.
  ///
  /// - Parameters:
  ///   - address: where they will be.
  ///   - top: how far they are to reach; 4 GiB at least and 64 GiB at most are mapped.
  static func pageTables(at address: GuestAddress, reaching top: UInt64) -> [UInt8] {
    let gibibytes = min(max((top + (1 << 30) - 1) >> 30, 4), mostGibibytes)
    let pointers = address.rawValue + pageSize
    let directories = pointers + pageSize
    var tables = LittleEndianBytes(zeroes: Int((2 + gibibytes) * pageSize))
    tables.put(pointers | present, at: 0)
    for index in 0..<gibibytes {
      let entry = (directories + index * pageSize) | present
      tables.put(entry, at: Int(pageSize + index * 8))
    }
    for index in 0..<gibibytes * 512 {
      tables.put((index << 21) | present | large, at: Int(2 * pageSize + index * 8))
    }
    return tables.bytes
  }

  /// Code at selector 0x10 and data at 0x18, as the 64-bit entry of Linux wants them; both flat.
  static let descriptors: [UInt8] = {
    var table = LittleEndianBytes(zeroes: 64)
    table.put(0x00AF_9B00_0000_FFFF as UInt64, at: 0x10)
    table.put(0x00CF_9300_0000_FFFF as UInt64, at: 0x18)
    return table.bytes
  }()
}
