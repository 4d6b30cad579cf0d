// `inspect` on stream files: made here element by element, whole, cut and hostile.

import Foundation
import JSON
import Testing
import Wire

@testable import godwit

@Suite struct InspectTests {
  private let folder: TemporaryFolder
  private var path: String { folder.url.appendingPathComponent("a.stream").path }

  init() throws { folder = try TemporaryFolder() }

  /// A machine of two blocks: four pages of which two are alike and one is sent twice, and one.
  private static func stream() throws -> [UInt8] {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "pc-test"))
    try encoder.appendSectionStart(.ram(id: 7))
    try encoder.appendRAMSetup([
      RAMBlockDescription(name: "pc.ram", usedLength: 4 * 4096),
      RAMBlockDescription(name: "rom", usedLength: 4096),
    ])
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 7)
    encoder.appendSectionEnd(id: 7)
    // The first page becomes what the third is; the last is sent with content and then as zeros.
    for (block, page, byte) in [(0, 0, 1), (0, 2, 2), (0, 0, 2), (0, 3, 3), (1, 0, 2)] {
      let content = [UInt8](repeating: UInt8(byte), count: 4096)
      let address = RAMPageAddress(blockIndex: block, offset: UInt64(page * 4096))
      try encoder.appendPage(address, content: content.span.bytes)
    }
    try encoder.appendZeroPage(RAMPageAddress(blockIndex: 0, offset: 3 * 4096))
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 7)
    let header = SectionHeader(id: 9, name: "bus/timer", instanceID: 1, versionID: 2)
    try encoder.appendFullSection(header, payload: [0, 0, 0, 42])
    encoder.appendEndOfStream()
    encoder.appendDescription(
      Array(
        """
        {"devices":[{"name":"bus/timer","instance_id":1,"vmsd_name":"timer","version":2,\
        "fields":[{"name":"ticks","type":"uint32","size":4}]}]}
        """.utf8))
    return encoder.buffer
  }

  private func inspect(_ bytes: [UInt8], _ options: String...) throws -> CommandOutcome {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return try BuiltCommand.run(["inspect", path] + options)
  }

  @Test func `a stream's blocks, parts and devices are listed, the last sending counting`() throws {
    let bytes = try Self.stream()
    let result = try #require(try inspect(bytes, "--json").objects().last)
    #expect(result["event"]?.string == "result")
    #expect(result["machine"]?.string == "pc-test")
    let main = try #require(result["blocks"]?[0])
    #expect(main["name"]?.string == "pc.ram")
    #expect(main["pages_zero"]?.int == 2)
    #expect(main["pages_unique"]?.int == 1)
    #expect(main["pages_shared"]?.int == 1)
    #expect(result["blocks"]?[1]?["pages_shared"]?.int == 1)
    #expect(result["devices"]?[0]?["name"]?.string == "bus/timer")
    let parts = result["parts"]?.array ?? []
    #expect(parts.compactMap { $0["bytes"]?.int }.reduce(0, +) == bytes.count)
  }

  @Test func `the parts' sizes are those in the stream`() throws {
    let result = try #require(try inspect(try Self.stream(), "--json").objects().last)
    let sizes = (result["parts"]?.array ?? []).map {
      "\($0["name"]?.string ?? "") \($0["count"]?.int ?? 0) \($0["bytes"]?.int ?? 0)"
    }
    #expect(sizes.contains("header 1 8"))
    #expect(sizes.contains("configuration 1 12"))
    #expect(sizes.contains("devices 1 32"))
    #expect(sizes.contains { $0.hasPrefix("ram 2 ") })
  }

  @Test func `--pages tells which bytes have content`() throws {
    let objects = try inspect(try Self.stream(), "--pages", "--json").objects()
    let runs = objects.filter { $0["event"]?.string == "pages" }.map {
      "\($0["block"]?.string ?? "") \($0["offset"]?.int ?? -1) \($0["bytes"]?.int ?? -1) "
        + ($0["kind"]?.string ?? "")
    }
    #expect(
      runs == [
        "pc.ram 0 4096 data", "pc.ram 4096 4096 zero", "pc.ram 8192 4096 data",
        "pc.ram 12288 4096 zero", "rom 0 4096 data",
      ])
  }

  @Test(arguments: ["bus/timer", "timer"])
  func `--device decodes a device's fields`(name: String) throws {
    let outcome = try inspect(try Self.stream(), "--device", name)
    #expect(outcome.code == 0)
    #expect(outcome.output.contains("bus/timer  instance 1, version 2, 4 bytes"))
    #expect(outcome.output.contains("ticks  0x2a (42)"))
  }

  @Test func `an unknown device is an error that names the known ones`() throws {
    let outcome = try inspect(try Self.stream(), "--device", "vga")
    #expect(outcome.code == 1)
    #expect(outcome.errors.contains("there is no device vga"))
    #expect(outcome.errors.contains("bus/timer"))
  }

  @Test(arguments: [0, 5, 30, 100, 5000])
  func `a truncated stream is named with its offset`(length: Int) throws {
    let outcome = try inspect(Array(try Self.stream().prefix(length)))
    #expect(outcome.code == 1)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.hasPrefix("godwit: \(path) is not a whole migration stream."))
    #expect(outcome.errors.contains("at byte "))
  }

  @Test func `a file that is no stream is named as such`() throws {
    let outcome = try inspect(Array("#!/bin/sh\nexit 0\n".utf8))
    #expect(outcome.code == 1)
    #expect(outcome.errors.contains("magic number"))
  }

  @Test func `a stream that announces an exbibyte costs neither time nor memory`() throws {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "pc-test"))
    try encoder.appendSectionStart(.ram(id: 1))
    try encoder.appendRAMSetup([RAMBlockDescription(name: "pc.ram", usedLength: 1 << 60)])
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    encoder.appendEndOfStream()
    encoder.appendDescription()
    let outcome = try inspect(encoder.buffer, "--pages")
    #expect(outcome.code == 0)
    #expect(outcome.output.contains("1.0 EiB"))
    #expect(outcome.output.contains("pc.ram  0x0000000000-0xfffffffffffffff  zero"))
  }

  @Test func `a word that is no file is a checkpoint's name`() throws {
    let outcome = try BuiltCommand.run(["inspect", "no-such-thing"])
    #expect(outcome.code == 1)
    #expect(
      outcome.errors.contains("/nonexistent/store") || outcome.errors.contains("no-such-thing"))
  }

  @Test func `numbers, bytes and lists are written as they are read best`() {
    #expect(DeviceValue.unsigned(7).text == "7")
    #expect(DeviceValue.unsigned(255).text == "0xff (255)")
    #expect(DeviceValue.signed(-3).text == "-3")
    #expect(DeviceValue.timer(nanoseconds: nil).text == "not running")
    #expect(DeviceValue.buffer([0, 0]).text == "2 bytes, all zero")
    #expect(DeviceValue.buffer(Array("running".utf8) + [0]).text == "\"running\" (8 bytes)")
    #expect(
      DeviceValue.array([.unsigned(1), .unsigned(0), .unsigned(0)]).text == "[1, 2 × 0]")
    #expect(DeviceValue.bitmap([3, 1]).text == "3 of 128 bits set")
  }
}
