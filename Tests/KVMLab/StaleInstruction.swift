// The one fault of an emulated processor that looks like a guest's own, told from it.
//
// Linux rewrites its code while it runs: a breakpoint comes first, then the new instruction in its
// place. QEMU's translator forgets what it has translated of a page just before a write to it, not
// after; where its processors are threads, another one can translate the old byte in between, and
// keeps it. It then takes the breakpoint for ever, each time told by the kernel to look again, and
// everything that waits for this processor waits: timers, grace periods, a boot. It happens to any
// guest of such a translator, and to what runs below it.

import Foundation
import JSON
import QEMULab

/// An emulated processor failed, so that nothing can be said about the program under test.
struct EmulatorFailure: Error, CustomStringConvertible {
  let description: String
}

/// Looks for a processor that takes a breakpoint which its memory has not.
struct StaleInstruction {
  let qmp: LabQMP
  /// Where pieces of memory may be written.
  let directory: String

  private static let breakpoint: UInt8 = 0xCC
  /// Seen so often at the same place, a tenth of a second apart, it is no patch under way.
  private static let sightings = 3

  /// Where a processor is stuck so; nil where none is.
  ///
  /// The machine is stopped for moments, and left running.
  func address() throws -> UInt64? {
    var counts: [UInt64: Int] = [:]
    for _ in 0..<100 {
      try qmp.execute("stop")
      // What one processor has in its registers may lead to no memory at all.
      let places = try processors().compactMap { (try? stalePlace(of: $0)) ?? nil }
      try qmp.execute("cont")
      for place in Set(places) {
        counts[place, default: 0] += 1
        if counts[place] == Self.sightings { return place }
      }
      usleep(100_000)
    }
    return nil
  }

  /// What is looked at of a processor.
  private struct Registers {
    var instruction, stack, tables, interrupts: UInt64
  }

  private func processors() throws -> [Registers] {
    let text = try qmp.monitor("info registers -a")
    func values(_ pattern: String) throws -> [UInt64] {
      text.matches(of: try Regex("\(pattern) *([0-9a-f]{16})", as: (Substring, Substring).self))
        .compactMap { UInt64($0.output.1, radix: 16) }
    }
    let stacks = try values("RSP="), tables = try values("CR3="), interrupts = try values("IDT=")
    return try values("RIP=").enumerated().compactMap { index, instruction in
      guard stacks.count > index, tables.count > index, interrupts.count > index else { return nil }
      return Registers(
        instruction: instruction, stack: stacks[index], tables: tables[index],
        interrupts: interrupts[index])
    }
  }

  /// The place of the breakpoint that a processor has just been taken from, if there is none.
  ///
  /// At the handler's first instruction, the stack holds the address behind the breakpoint.
  private func stalePlace(of processor: Registers) throws -> UInt64? {
    let gate = try bytes(at: processor.interrupts + 3 * 16, count: 16, processor)
    guard gate.count == 16 else { return nil }
    let handler = number(gate[0..<2]) | number(gate[6..<8]) << 16 | number(gate[8..<12]) << 32
    guard processor.instruction == handler else { return nil }
    let frame = try bytes(at: processor.stack, count: 8, processor)
    guard frame.count == 8 else { return nil }
    let place = number(frame[...]) &- 1
    let code = try bytes(at: place, count: 1, processor)
    return code.isEmpty || code == [Self.breakpoint] ? nil : place
  }

  /// Bytes within a page at a processor's own address; none where nothing is mapped.
  private func bytes(at address: UInt64, count: Int, _ processor: Registers) throws -> [UInt8] {
    let field: UInt64 = 0x000F_FFFF_FFFF_F000
    var table = processor.tables & field
    for shift: UInt64 in [39, 30, 21, 12] {
      let entry = number(try physical(table + (address >> shift & 511) * 8, count: 8)[...])
      guard entry & 1 != 0 else { return [] }
      let offset = (1 << shift) - 1 as UInt64
      let isLarge = entry & 0x80 != 0 && (shift == 30 || shift == 21)
      if isLarge || shift == 12 {
        return try physical(entry & field & ~offset | address & offset, count: count)
      }
      table = entry & field
    }
    return []
  }

  private func physical(_ address: UInt64, count: Int) throws -> [UInt8] {
    let path = directory + "/piece"
    try qmp.execute(
      "pmemsave",
      ["val": JSONValue(address), "size": JSONValue(count), "filename": .string(path)])
    defer { unlink(path) }
    return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// A number from its bytes, the lowest first.
  private func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
