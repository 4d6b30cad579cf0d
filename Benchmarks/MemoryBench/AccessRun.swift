// What the rest of the machine calls often: marks, look-ups, page scans, making memory.

import Foundation
import GuestMemory

/// Single operations; figures without a bar.
enum AccessRun {
  static func measure(_ table: inout BenchTable) throws {
    try marks(&table)
    try scans(&table)
    try reservation(&table)
  }

  private static func marks(_ table: inout BenchTable) throws {
    let ram = RAMList()
    let block = try ram.add(name: "pc.ram", byteCount: 1 << 30)
    let root = MemoryRegion.container(name: "system", byteCount: 1 << 40)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    try space.transaction { () throws(GuestMemoryError) in
      root.addSubregion(.ram(block), at: 0)
    }
    let count = 1_000_000
    func report(_ what: String, _ body: (Int) -> Void) {
      let taken = seconds { for index in 0..<count { body(index) } }
      table.add(what, String(format: "%.1f ns", taken / Double(count) * 1e9))
    }
    report("the flat view in force") { _ in _ = space.view }
    report("a processor's write to RAM, nobody logging") { index in
      space.store(at: GuestAddress(UInt64(index % 4096 * 8)), byteCount: 8, value: 1)
    }
    try space.startLogging(.migration)
    report("the same, logged, to a page that is dirty") { index in
      space.store(at: GuestAddress(UInt64(index % 4096 * 8)), byteCount: 8, value: 1)
    }
    let pages = block.pageCount
    report("a mark of a page that is clean") { index in
      ram.dirty.mark(RAMRange(pages: index * 64 % pages..<index * 64 % pages + 1))
    }
  }

  private static func scans(_ table: inout BenchTable) throws {
    let ram = RAMList()
    let byteCount = 256 << 20
    let block = try ram.add(name: "pc.ram", byteCount: byteCount)
    let copy = try ram.add(name: "copy", byteCount: byteCount)
    // Memory of its own, not the page of zeros that the kernel shows where nothing was written.
    for target in [block, copy] {
      try target.withMutableBytes(offset: 0, byteCount: byteCount) { bytes in
        for offset in stride(from: 0, to: byteCount, by: 4096) {
          bytes.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
        }
      }
    }
    var times = BestTimes()
    var isZero = false
    for _ in 0..<5 {
      unsafe block.withUnsafeMemory(offset: 0, byteCount: byteCount) { from in
        unsafe copy.withUnsafeMemory(offset: 0, byteCount: byteCount) { to in
          // SAFETY: both blocks have that many bytes.
          times.measure("copy") { unsafe to.copyMemory(from: UnsafeRawBufferPointer(from)) }
        }
      }
      times.measure("zero") {
        isZero = (try? block.isZero(offset: 0, byteCount: byteCount)) ?? false
      }
    }
    precondition(isZero, "nothing was written")
    let rate = Double(byteCount) / times["zero"] / 1e9
    table.add(
      "zero scan of 256 MiB, to memcpy",
      String(format: "%.2f x (%.1f GB/s)", times["copy"] / times["zero"], rate))
  }

  private static func reservation(_ table: inout BenchTable) throws {
    for gibibytes in [1, 8, 1024] {
      var times = BestTimes()
      for _ in 0..<5 {
        times.measure("add") {
          _ = try? RAMList().add(name: "pc.ram", byteCount: gibibytes << 30)
        }
      }
      table.add("making \(gibibytes) GiB of RAM", String(format: "%.0f µs", times["add"] * 1e6))
    }
  }
}
