// The tables that a guest reads: checksums, lengths, and what they name.

import GuestMemory
import Testing

@testable import VMM

struct FirmwareTests {
  private let tables = FirmwareTables(
    FirmwareTables.Machine(
      processorCount: 3,
      virtioDevices: (0..<5).map { (GuestLayout.virtioAddress($0), 16 + UInt32($0)) }),
    at: GuestLayout.firmwareTables)

  /// The table at an address, by the length in its header.
  private func table(at address: UInt64) -> ArraySlice<UInt8> {
    let offset = Int(address - tables.address.rawValue)
    let length: UInt32 = tables.bytes.littleEndian(at: offset + 4) ?? 0
    return tables.bytes[offset..<offset + Int(length)]
  }

  @Test func `every table is reached from the root, and its sum is zero`() throws {
    #expect(ACPITable.checksum(of: tables.bytes[..<20]) == 0)
    #expect(ACPITable.checksum(of: tables.bytes[..<36]) == 0)
    let root = try #require(tables.bytes.littleEndian(at: 24, as: UInt64.self))
    let entries = table(at: root)
    #expect(ACPITable.checksum(of: entries) == 0)
    var signatures: [String] = []
    for offset in stride(from: 36, to: entries.count, by: 8) {
      let entry = table(at: try #require(entries.littleEndian(at: offset)))
      #expect(ACPITable.checksum(of: entry) == 0)
      signatures.append(String(decoding: entry.prefix(4), as: UTF8.self))
      guard signatures.last == "FACP" else { continue }
      let code = table(at: try #require(entry.littleEndian(at: 140)))
      #expect(ACPITable.checksum(of: code) == 0)
      #expect(String(decoding: code.prefix(4), as: UTF8.self) == "DSDT")
      let names = String(decoding: code, as: UTF8.self)
      for index in 0..<5 { #expect(names.contains("VR0\(index)")) }
    }
    #expect(signatures == ["FACP", "APIC"])
  }

  @Test func `lengths in byte code count themselves`() {
    let short = AML.scope("ABCD", [.number(1)])
    #expect(short.bytes == [0x10, 7] + Array("ABCD".utf8) + [0x0A, 1])
    let long = AML.scope("ABCD", Array(repeating: .number(1), count: 100))
    // Two bytes of length: 206 with themselves, the low four bits in the first.
    #expect(long.bytes.prefix(3) == [0x10, 0x40 | 206 & 15, 206 >> 4])
    #expect(long.bytes.count == 1 + 206)
  }

  @Test func `memory is told of on both sides of the devices`() {
    let small = GuestLayout(memoryByteCount: 512 << 20)
    #expect(small.memoryMap.last?.range == 0x10_0000..<0x2000_0000)
    #expect(small.top == 512 << 20)
    let large = GuestLayout(memoryByteCount: 8 << 30)
    #expect(large.lowByteCount == 3 << 30)
    #expect(large.memoryMap.last?.range == (4 << 30)..<(9 << 30))
    #expect(large.top == 9 << 30)
    let sum = large.memoryMap.filter { $0.kind == .usable }.map(\.range.count).reduce(0, +)
    #expect(UInt64(sum) == (8 << 30) - 0x10_0000 + GuestLayout.lowMemoryEnd)
  }

  @Test func `page tables map every address to itself`() throws {
    let tables = StartTables.pageTables(at: GuestAddress(0x1_0000), reaching: 5 << 30)
    #expect(tables.count == (2 + 5) * 4096)
    for address in [0, 0x20_0000, 0xD010_0000, 0x1_3FE0_0000] as [UInt64] {
      let pointer: UInt64 = try #require(tables.littleEndian(at: 4096 + Int(address >> 30) * 8))
      let directory = Int((pointer & ~0xFFF) - 0x1_0000)
      let entry: UInt64 = try #require(
        tables.littleEndian(at: directory + Int(address >> 21 & 511) * 8))
      #expect(entry == address & ~0x1F_FFFF | 0x83)
    }
  }
}
