// PostcopyStreamTests.swift: postcopy, its package, its recovery and its return path.

import FuzzFrame
import Testing
import WireLab

@testable import Wire

@Suite struct PostcopyStreamTests {
  @Test func `a postcopy's commands come in their order`() throws {
    let events = try Fixture(name: "postcopy-7.2").outcome().events
    let commands = events.compactMap { if case .command(let value) = $0 { value } else { nil } }
    #expect(commands.starts(with: [.openReturnPath, .ping(1)]))
    #expect(
      commands.contains(
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: 4096, targetPageSize: 4096))))
    let isDiscard = { (command: VMCommand) in
      if case .ramDiscard = command { true } else { false }
    }
    #expect(commands.contains(where: isDiscard))
    #expect(commands.suffix(1) == [.ping(4)])
    #expect(events.last == .endOfStream)
  }

  @Test(arguments: ["7.2", "10.0"])
  func `a package is split by the description of a precopy`(version: String) throws {
    let stream = version == "7.2" ? "postcopy-7.2" : "recover-10.0-1"
    var recorder = Recorder()
    var decoder = StreamDecoder()
    let bytes = try Fixture(name: stream).bytes
    try bytes.withBytes(0..<bytes.count) { try decoder.feed($0, to: &recorder) }
    let blob = recorder.calls.lazy.compactMap { call in
      if case .event(.command(.packaged(let blob))) = call { blob } else { nil }
    }.first
    let package = try PackagedState(parsing: try #require(blob))
    #expect(package.ping == 3)
    #expect(try package.encoded() == blob)
    let description = try Fixture(name: "microvm-\(version)").deviceState().description
    let state = DeviceState(bytes: package.deviceBytes, description: description)
    let sections = try state.sections()
    #expect(sections.count == 14)
    #expect(sections.allSatisfy { $0.layout != nil })
    #expect(sections.map(\.range).last?.upperBound == package.deviceBytes.count)
  }

  @Test(arguments: ["7.2", "10.0"])
  func `a recovered connection is read with the facts of the first`(version: String) throws {
    var first = StreamDecoder()
    var before = Recorder()
    let start = try Fixture(name: "recover-\(version)-1").bytes
    try start.withBytes(0..<start.count) { try first.feed($0, to: &before) }
    #expect(first.isPostcopy)
    #expect(throws: WireError.self) { try first.finish(to: &before) }

    let bytes = try Fixture(name: "recover-\(version)-2").bytes
    let options = StreamDecoder.Options(recovery: first.recovery)
    var encoder = Reencoder(targetPageSize: 4096)
    encoder.encoder = StreamEncoder(blockNames: first.blocks.map(\.name))
    let second = try bytes.decode(options, to: &encoder)
    #expect(second.isFinished)
    #expect(encoder.encoder.buffer == bytes)

    let whole = Outcome(bytes, options: options) { .max }
    var random = SplitMix(state: 3)
    #expect(Outcome(bytes, options: options) { 1 + random.below(9000) } == whole)
  }

  @Test(arguments: ["huge-pages-10.0", "huge-pages-m68k-7.2"])
  func `a block of huge pages tells its page size, also where it is the only one`(
    name: String
  ) throws {
    let blocks = try #require(try Fixture(name: name).outcome().events.firstBlocks)
    #expect(blocks.filter { $0.name == "mem" }.map(\.pageSize) == [2 << 20])
    #expect(blocks.filter { $0.name != "mem" }.allSatisfy { $0.pageSize == nil })
  }

  @Test(arguments: ["return-path-10.0", "postcopy-7.2", "recover-7.2-1", "recover-10.0-1"])
  func `a captured return path is read and written again`(name: String) throws {
    let bytes = try Fixture(name: name).returnPath
    let messages = try Self.messages(bytes, pageCounts: [:], pieceSize: bytes.count)
    #expect(messages.contains(.pong(1)))
    #expect(try Self.messages(bytes, pageCounts: [:], pieceSize: 1) == messages)
    var encoded: [UInt8] = []
    for message in messages { try message.encode(into: &encoded) }
    #expect(encoded == bytes)
  }

  @Test(arguments: ["7.2", "10.0"])
  func `a recovering destination tells what it has`(version: String) throws {
    var first = StreamDecoder()
    var before = Recorder()
    let start = try Fixture(name: "recover-\(version)-1").bytes
    try start.withBytes(0..<start.count) { try first.feed($0, to: &before) }
    let pages = Dictionary(
      uniqueKeysWithValues: first.blocks.map { ($0.name, Int($0.usedLength / 4096)) })

    let bytes = try Fixture(name: "recover-\(version)-2").returnPath
    let messages = try Self.messages(bytes, pageCounts: pages, pieceSize: bytes.count)
    #expect(try Self.messages(bytes, pageCounts: pages, pieceSize: 3) == messages)
    let bitmaps = messages.compactMap { message -> ReceivedBitmap? in
      if case .receivedBitmap("microvm.ram", let bitmap) = message { bitmap } else { nil }
    }
    let bitmap = try #require(bitmaps.first)
    #expect(bitmap.receivedCount > 0 && bitmap.receivedCount < bitmap.pageCount)
    #expect(messages.contains(.resumeAcknowledge(1)))
    #expect(messages.last == .shut(status: 0))
    var encoded: [UInt8] = []
    for message in messages { try message.encode(into: &encoded) }
    #expect(encoded == bytes)
  }

  static func messages(
    _ bytes: [UInt8], pageCounts: [String: Int], pieceSize: Int
  ) throws -> [ReturnPathMessage] {
    var decoder = ReturnPathDecoder(pageCounts: pageCounts)
    var messages: [ReturnPathMessage] = []
    for start in stride(from: 0, to: bytes.count, by: max(1, pieceSize)) {
      try bytes.withBytes(start..<min(bytes.count, start + pieceSize)) { piece in
        try decoder.feed(piece) { messages.append($0) }
      }
    }
    #expect(decoder.isBetweenMessages)
    return messages
  }

  /// What a decoder makes of the channel of requested pages, fed in pieces of a size.
  private func pages(
    of bytes: [UInt8], piece: Int = .max
  ) throws -> (calls: [Call], isFinished: Bool) {
    let blocks = [
      RAMBlockDescription(name: "pc.ram", usedLength: 64 << 10),
      RAMBlockDescription(name: "vga.vram", usedLength: 16 << 10),
    ]
    var options = StreamDecoder.Options()
    options.recovery = StreamDecoder.Recovery(
      ramSectionID: 2, blocks: blocks, targetPageSize: 4096)
    options.carriesOnlyPages = true
    var decoder = StreamDecoder(options: options)
    var recorder = Recorder()
    for start in stride(from: 0, to: bytes.count, by: min(piece, bytes.count)) {
      let end = min(bytes.count, start + min(piece, bytes.count))
      try bytes.withBytes(start..<end) { try decoder.feed($0, to: &recorder) }
    }
    try decoder.finish(to: &recorder)
    return (recorder.calls, decoder.isFinished)
  }

  @Test func `the channel of requested pages is records alone, and ends with a word or without`()
    throws
  {
    var encoder = StreamEncoder(blockNames: ["pc.ram", "vga.vram"])
    try encoder.appendZeroPage(RAMPageAddress(blockIndex: 1, offset: 4096))
    let page = [UInt8](repeating: 7, count: 4096)
    try page.withBytes(0..<4096) {
      try encoder.appendPage(RAMPageAddress(blockIndex: 0, offset: 8192), content: $0)
    }
    try encoder.appendZeroPage(RAMPageAddress(blockIndex: 0, offset: 0))
    let records = encoder.buffer
    let calls = try pages(of: records).calls
    #expect(calls.count == 3)
    #expect(calls[0] == .zero(RAMPageAddress(blockIndex: 1, offset: 4096), fill: 0))
    #expect(try !pages(of: records).isFinished)
    encoder.appendRAMEndOfSection()
    for piece in [1, 3, 4096, 5000] {
      let (found, isFinished) = try pages(of: encoder.buffer, piece: piece)
      #expect(found == calls)
      #expect(isFinished)
    }
    #expect(throws: WireError.self) { try pages(of: encoder.buffer + [0]) }
    for length in [1, 9, 100, records.count - 1] {
      #expect(throws: WireError.self) { try pages(of: Array(records.prefix(length))) }
    }
  }
}
