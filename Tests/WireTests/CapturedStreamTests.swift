// CapturedStreamTests.swift: what QEMU wrote is understood whole, and written again as it was.

import FuzzFrame
import Testing
import WireLab

@testable import Wire

@Suite struct CapturedStreamTests {
  @Test(arguments: Fixture.streams)
  func `a captured stream is whole`(fixture: Fixture) throws {
    let outcome = try fixture.outcome()
    #expect(outcome.error == nil)
    #expect(outcome.offset == UInt64(try fixture.bytes.count))
    #expect(outcome.events.first == .header)
    #expect(outcome.events.contains(.endOfStream))
  }

  @Test(arguments: Fixture.streams.filter { $0.name != "compress-7.2" })
  func `encoding what was decoded gives the same bytes`(fixture: Fixture) throws {
    let bytes = try fixture.bytes
    var encoder = Reencoder(targetPageSize: 4096, usesFooters: fixture.name != "pc-2.3-on-7.2")
    _ = try bytes.decode(fixture.options, to: &encoder)
    #expect(encoder.encoder.buffer == bytes)
  }

  @Test(arguments: Fixture.streams)
  func `pieces of random sizes say the same as the whole`(fixture: Fixture) throws {
    let bytes = try fixture.bytes
    let whole = try fixture.outcome()
    var random = SplitMix(state: 7)
    for largest in [100, 5000, 70_000] {
      let split = Outcome(bytes, options: fixture.options) { 1 + random.below(largest) }
      #expect(split == whole, "pieces of up to \(largest) bytes")
    }
  }

  @Test(arguments: Fixture.small)
  func `single bytes say the same as the whole`(fixture: Fixture) throws {
    let split = Outcome(try fixture.bytes, options: fixture.options) { 1 }
    #expect(try split == fixture.outcome())
  }

  @Test func `a stream of a 7_2 machine tells its blocks in order`() throws {
    let outcome = try Fixture(name: "microvm-7.2").outcome()
    let configuration = outcome.events.compactMap {
      if case .configuration(let value) = $0 { value } else { nil }
    }
    #expect(configuration == [StreamConfiguration(machine: "microvm")])
    let blocks = try #require(outcome.events.firstBlocks)
    #expect(blocks.map(\.name).contains("microvm.ram"))
    #expect(blocks.first { $0.name == "microvm.ram" }?.usedLength == 1 << 20)
  }

  @Test func `capabilities, uuid and guest addresses are read`() throws {
    let outcome = try Fixture(name: "ignore-shared-uuid-10.0").outcome()
    let expected = StreamConfiguration(
      machine: "pc-i440fx-10.0", capabilities: ["x-ignore-shared"],
      uuid: (0..<16).map { UInt8($0 * 0x11) })
    #expect(outcome.events.contains(.configuration(expected)))
    #expect(try #require(outcome.events.firstBlocks).allSatisfy { $0.guestAddress != nil })
  }

  @Test func `the target page size of an Arm machine is adopted`() throws {
    var recorder = Recorder()
    let options = StreamDecoder.Options(targetPageSize: 1024)
    let decoder = try Fixture(name: "aarch64-virt-7.2").bytes.decode(options, to: &recorder)
    #expect(decoder.targetPageSize == 4096)
    #expect(decoder.isFinished)
  }

  @Test func `a machine without footers and configuration is read`() throws {
    let fixture = Fixture(name: "pc-2.3-on-7.2")
    let state = try fixture.deviceState()
    #expect(!state.usesFooters)
    #expect(try state.sections().count == 28)
    let hasConfiguration = try fixture.outcome().events.contains {
      if case .configuration = $0 { true } else { false }
    }
    #expect(!hasConfiguration)
  }

  @Test func `a native machine of 10_0 announces its switchover`() throws {
    #expect(try Fixture(name: "pc-10.0").outcome().events.contains(.command(.switchoverStart)))
  }

  @Test func `pages that zlib compressed are the pages they were`() throws {
    var texts: [String] = []
    var pages = PageCollector()
    _ = try Fixture(name: "compress-7.2").bytes.decode(to: &pages)
    for number in 0..<24 {
      let page = pages.content[0x10000 + UInt64(number) * 4096]
      texts.append(String(decoding: page?.prefix(12) ?? [], as: UTF8.self))
    }
    #expect(texts[3] == "page 000003 ")
    #expect(texts.allSatisfy { $0.hasPrefix("page 0000") })
  }

  @Test func `deltas apply onto the pages before them`() throws {
    var pages = PageCollector()
    _ = try Fixture(name: "xbzrle-10.0").bytes.decode(to: &pages)
    #expect(pages.deltaCount > 100)
    #expect(pages.failures.isEmpty)
  }

  @Test func `a background snapshot has its device state after parts without an end`() throws {
    let events = try Fixture(name: "background-snapshot-10.0").outcome().events
    let hasEnd = events.contains { if case .sectionEnd = $0 { true } else { false } }
    #expect(!hasEnd)
    #expect(try Fixture(name: "background-snapshot-10.0").deviceState().sections().count == 14)
  }

  @Test(arguments: ["virtio-mem-10.0", "virtio-mem-background-10.0"])
  func `an early section between the RAM's start and its parts is told by itself`(
    name: String
  ) throws {
    let events = try Fixture(name: name).outcome().events
    let early = events.compactMap {
      if case .earlyDeviceState(let bytes) = $0 { bytes } else { nil }
    }
    #expect(early.count == 1)
    let description = try Fixture(name: name).deviceState().description
    let state = DeviceState(bytes: early[0], description: description)
    let section = try #require(try state.sections().first)
    #expect(section.header.name.hasSuffix("virtio-mem-device-early"))
    #expect(try section.fields().allSatisfy { $0.type != "undescribed" })
  }

  @Test func `dirty bitmaps are read chunk by chunk`() throws {
    let events = try Fixture(name: "dirty-bitmaps-10.0").outcome().events
    #expect(events.contains(.command(.postcopyAdvise(nil))))
    let chunks = events.compactMap {
      if case .dirtyBitmapChunk(let chunk) = $0 { chunk } else { nil }
    }
    #expect(chunks.first?.content == .start(granularity: 65536, flags: 1))
    #expect(chunks.contains { $0.content == .complete })
  }

  @Test func `a section of unknown layout is found by its footer`() throws {
    let payloads = try Fixture(name: "s390x-7.2").outcome().events.compactMap {
      if case .opaqueSection(_, let payload) = $0 { payload.count } else { nil }
    }
    #expect(payloads == [8, 8, 16])
  }
}

extension [StreamEvent] {
  /// The announced blocks.
  var firstBlocks: [RAMBlockDescription]? {
    for case .ramBlocks(let blocks) in self { return blocks }
    return nil
  }
}

/// Keeps the latest content of every page of the largest block.
struct PageCollector: StreamVisitor {
  var content: [UInt64: [UInt8]] = [:]
  var deltaCount = 0
  var failures: [WireError] = []
  private var block = 0

  mutating func visit(_ event: StreamEvent) {
    guard case .ramBlocks(let blocks) = event else { return }
    block = blocks.indices.max { blocks[$0].usedLength < blocks[$1].usedLength } ?? 0
  }

  mutating func visitPage(_ page: RAMPageAddress, content bytes: RawSpan) {
    guard page.blockIndex == block else { return }
    content[page.offset] = bytes.array()
  }

  mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) {
    guard page.blockIndex == block else { return }
    content[page.offset] = [UInt8](repeating: fill, count: 4096)
  }

  mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) {
    deltaCount += 1
    var old = content[page.offset] ?? [UInt8](repeating: 0, count: 4096)
    var span = old.mutableSpan
    var bytes = span.mutableBytes
    do throws(WireError) {
      try XBZRLE.decode(xbzrle, onto: &bytes)
    } catch {
      failures.append(error)
    }
    content[page.offset] = old
  }
}
