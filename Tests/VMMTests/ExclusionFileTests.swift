// Files of pages that need not travel: what they say, and what is wrong with those of others.

import Foundation
import GuestMemory
import Testing

@testable import VMM

@Suite struct ExclusionFileTests {
  private let ram = RAMList()
  private let main: RAMBlock
  private let video: RAMBlock

  init() throws {
    main = try ram.add(name: "pc.ram", byteCount: 20 * 4096)
    video = try ram.add(name: "vga.vram", byteCount: 9 * 4096)
    _ = try ram.add(name: "pc.bios", byteCount: 4096, isMigratable: false)
  }

  private func number(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private func entry(_ name: String, _ byteCount: Int, _ bitmap: [UInt8]) -> [UInt8] {
    number(name.utf8.count, 2) + Array(name.utf8) + number(byteCount, 8) + bitmap
  }

  private func file(version: Int = 1, _ entries: [[UInt8]], count: Int? = nil) -> [UInt8] {
    ExclusionFile.magic + number(version, 4) + number(count ?? entries.count, 4)
      + entries.flatMap { $0 }
  }

  private var blocks: [RAMBlock] { ram.blocks.filter(\.isMigratable) }

  private func parse(_ bytes: [UInt8]) throws -> [RAMRange] {
    try ExclusionFile.parse(bytes, "it", blocks)
  }

  private func refusal(_ bytes: [UInt8]) -> String {
    do {
      _ = try parse(bytes)
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func `bits are pages, in whatever order the blocks stand`() throws {
    let found = try parse(
      file([
        entry("vga.vram", 9 * 4096, [0, 0xff]),
        entry("pc.ram", 20 * 4096, [0b0000_0110, 0b1000_0000, 0b0000_1001]),
      ]))
    let (first, second) = (main.ramRange.pages.lowerBound, video.ramRange.pages.lowerBound)
    #expect(
      found.map(\.pages) == [
        first + 1..<first + 3, first + 15..<first + 17, first + 19..<first + 20,
        second + 8..<second + 9,
      ], "bits beyond the last page mean nothing")
    #expect(try parse(file([])).isEmpty)
    #expect(try parse(file([entry("pc.ram", 20 * 4096, [0, 0, 0])])).isEmpty)
  }

  @Test func `one block alone needs no header`() throws {
    let one = [main]
    let base = main.ramRange.pages.lowerBound
    #expect(
      try ExclusionFile.parse([1, 0, 8], "it", one).map(\.pages) == [
        base..<base + 1, base + 19..<base + 20,
      ])
    #expect(throws: MachineError.self) { try ExclusionFile.parse([1, 0], "it", one) }
    #expect(throws: MachineError.self) { try ExclusionFile.parse([1, 0, 8, 0], "it", one) }
    #expect(refusal([1, 0, 8]).contains("only a machine with one RAM block"))
  }

  @Test func `what is for another machine is refused with what differs`() {
    let good = entry("pc.ram", 20 * 4096, [1, 2, 3])
    #expect(refusal(file(version: 2, [good])).contains("version 2"))
    #expect(refusal(file([good, good])).contains("'pc.ram' twice"))
    #expect(refusal(file([entry("pc.rom", 4096, [0])])).contains("'pc.rom'"))
    #expect(refusal(file([entry("pc.bios", 4096, [0])])).contains("'pc.bios'"))
    #expect(
      refusal(file([entry("pc.ram", 24 * 4096, [1, 2, 3])])).contains("this machine's has 81920"))
    #expect(refusal(file([good]) + [0]).contains("1 bytes stand behind"))
    #expect(refusal(file([good], count: .max)).contains("it ends within"))
  }

  @Test func `a file that is cut anywhere is refused`() throws {
    let whole = file([
      entry("pc.ram", 20 * 4096, [1, 2, 3]), entry("vga.vram", 9 * 4096, [1, 1]),
    ])
    #expect(try parse(whole).count == 5)
    for count in 0..<whole.count {
      #expect(!refusal(Array(whole.prefix(count))).isEmpty, "cut after \(count)")
    }
    var damaged = whole
    for index in ExclusionFile.magic.count..<whole.count {
      for value in [0, 0x7f, 0xff] as [UInt8] {
        damaged[index] = value
        // Refused or taken, never trapped upon.
        _ = refusal(damaged)
        damaged[index] = whole[index]
      }
    }
  }

  @Test func `a file that cannot be read, or is endless, is refused by its path`() throws {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("godwit-exclusion-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let large = folder.appendingPathComponent("large").path
    try Data(count: 1 << 20).write(to: URL(fileURLWithPath: large))
    for path in ["/nonexistent/pages", folder.path, "/dev/zero", large] {
      do {
        _ = try ExclusionFile.read(path, for: ram)
        Issue.record("\(path) was taken")
      } catch {
        #expect("\(error)".hasPrefix("'\(path)' does not say"), "\(error)")
      }
    }
    let good = folder.appendingPathComponent("good").path
    try Data(file([entry("pc.ram", 20 * 4096, [1, 0, 0])])).write(to: URL(fileURLWithPath: good))
    #expect(try ExclusionFile.read(good, for: ram).count == 1)
  }
}
