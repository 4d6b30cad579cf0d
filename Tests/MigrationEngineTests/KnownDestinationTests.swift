// The receiving engine and pages that come as hashes: what it announces, what it takes from its own
// copies, and what it says of the pages that it does not hold.

import MigrationCore
import MigrationEngine
import PageHash
import Synchronization
import Testing
import Transport
import Wire

/// Known content that a test makes up, and that lies if it is told to.
final class MadeContent: KnownContent {
  private let pages: Mutex<[ContentHash: [UInt8]]>
  private let announces: [UInt64]?
  private let lies: Bool

  /// - Parameters:
  ///   - pages: what is held.
  ///   - announces: what is announced instead of that.
  ///   - lies: whether something else is handed out for every hash.
  init(_ pages: [[UInt8]], announces: [UInt64]? = nil, lies: Bool = false) throws {
    self.pages = Mutex(
      Dictionary(try pages.map { (try knownHash($0), $0) }, uniquingKeysWith: { first, _ in first })
    )
    self.announces = announces
    self.lies = lies
  }

  func prepare() {}

  func announce(_ take: ([UInt64]) throws -> Bool) throws {
    let prefixes = announces ?? pages.withLock { $0.keys.map(\.prefix) }
    for start in stride(from: 0, to: prefixes.count, by: 1000) {
      guard try take(Array(prefixes[start..<min(start + 1000, prefixes.count)])) else { return }
    }
  }

  func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool] {
    let held = self.pages.withLock { held in hashes.map { held[$0] } }
    return hashes.indices.map { index in
      guard let content = lies ? knownPage(hashes[index].word0) : held[index] else { return false }
      var page = pages._mutatingExtracting(index * 4096..<(index + 1) * 4096)
      page.withUnsafeMutableBytes { $0.copyBytes(from: content) }
      return true
    }
  }
}

@Suite struct `The receiving engine and pages by their hashes` {
  private static let blocks = [
    RAMBlockDescription(name: "a", usedLength: 256 << 12),
    RAMBlockDescription(name: "b", usedLength: 8 << 12),
  ]
  private static let devices = DeviceState(bytes: [], description: Array("{}".utf8))

  /// A source that a test drives by hand.
  private final class HandSource {
    let channel: ByteChannel
    var encoder = StreamEncoder()
    private var decoder = ReturnPathDecoder(takesKnownPages: true)
    private var messages: [ReturnPathMessage] = []

    init(_ channel: ByteChannel) { self.channel = channel }

    func begin(asking limit: UInt64 = 1 << 16) throws {
      encoder.appendHeader()
      try encoder.append(StreamConfiguration(machine: "m", targetPageBits: 12))
      try encoder.append(.openReturnPath)
      try encoder.appendSectionStart(.ram(id: 2))
      try encoder.appendRAMSetup(blocks)
      endPart()
      if limit > 0 { try encoder.append(.askKnownPages(limit: limit)) }
      try flush()
    }

    func endPart() {
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 2)
    }

    func flush() throws {
      try channel.write(encoder.buffer)
      encoder.buffer = []
    }

    func send(_ pages: [(RAMPageAddress, [UInt8])], asHashes: Bool) throws {
      encoder.appendSectionPart(id: 2)
      for (page, content) in pages {
        if asHashes {
          let digest = try knownHash(content).bytes
          try encoder.appendPageHash(page, digest: digest.span.bytes)
        } else {
          try encoder.appendPage(page, content: content.span.bytes)
        }
      }
      endPart()
      try flush()
    }

    func ping(_ value: UInt32) throws {
      try encoder.append(.ping(value))
      try flush()
    }

    func end() throws {
      encoder.appendSectionEnd(id: 2)
      endPart()
      try encoder.appendFullSection(
        SectionHeader(id: 9, name: "d", instanceID: 0, versionID: 1), payload: [7])
      encoder.appendEndOfStream()
      encoder.appendDescription()
      try flush()
    }

    /// The next message; the end of the link is an error.
    func next() throws -> ReturnPathMessage {
      while messages.isEmpty {
        let bytes = try channel.read(atMost: 4096)
        guard !bytes.isEmpty else { throw Refused(description: "the link ended") }
        try decoder.feed(bytes.span.bytes) { messages.append($0) }
      }
      return messages.removeFirst()
    }
  }

  private static func page(_ number: Int, block: Int = 0) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: UInt64(number) << 12)
  }

  private struct Run {
    var kept = MemoryDestination.Kept()
    var error: MigrationError?
    var report: DestinationReport?
  }

  /// Receives what `source` sends.
  private func receive(
    _ contents: [any KnownContent]?, _ source: (HandSource) throws -> Void
  ) throws -> Run {
    let kept = SharedKept()
    let (ours, theirs) = try ByteChannel.pair()
    var options = DestinationOptions()
    options.knownContent = contents
    let engine = DestinationEngine(
      channel: theirs, endpoint: MemoryDestination(kept), options: options)
    let outcome = Mutex(Run())
    let thread = try NamedThread(name: "destination") {
      do throws(MigrationError) {
        let report = try engine.run()
        outcome.withLock { $0.report = report }
      } catch {
        outcome.withLock { $0.error = error }
      }
    }
    do {
      try source(HandSource(ours))
    } catch {
      ours.shutdownBoth()
      thread.join()
      throw error
    }
    thread.join()
    var run = outcome.withLock { $0 }
    run.kept = kept.value
    return run
  }

  @Test(.timeLimit(.minutes(1)))
  func `pages come out of what is held, and others are told as missed before the answer to a ping`()
    throws
  {
    let held = (1...200).map { knownPage(UInt64($0)) }
    let run = try receive([try MadeContent(held)]) { source in
      try source.begin()
      var announced: Set<UInt64> = []
      while case let message = try source.next(), case .knownPages(let part) = message {
        announced.formUnion(part)
      }
      #expect(announced == Set(try held.map { try knownHash($0).prefix }))
      try source.send(
        (0..<200).map { (Self.page($0), held[$0]) } + [
          (Self.page(200), knownPage(900)), (Self.page(1, block: 1), knownPage(901)),
        ], asHashes: true)
      try source.ping(77)
      #expect(try source.next() == .missedPages(block: "a", offsets: [200 << 12]))
      #expect(try source.next() == .missedPages(block: "b", offsets: [1 << 12]))
      #expect(try source.next() == .pong(77))
      try source.send(
        [(Self.page(200), knownPage(900)), (Self.page(1, block: 1), knownPage(901))],
        asHashes: false)
      try source.end()
      #expect(try source.next() == .shut(status: 0))
    }
    #expect(run.error == nil)
    #expect(run.kept.isComplete)
    for number in 0..<200 { #expect(run.kept.memory[Self.page(number)] == held[number]) }
    #expect(run.kept.memory[Self.page(200)] == knownPage(900))
    #expect(run.kept.memory[Self.page(1, block: 1)] == knownPage(901))
    #expect(run.report?.hashedPages == 202)
    #expect(run.report?.missedPages == 2)
    #expect(run.report?.normalPages == 2)
  }

  @Test(.timeLimit(.minutes(1)))
  func `content that is not what was announced is never placed`() throws {
    let page = knownPage(1)
    let liar = try MadeContent([page], lies: true)
    let run = try receive([liar]) { source in
      try source.begin()
      try source.send([(Self.page(0), page)], asHashes: true)
      try source.ping(1)
      var seen: [ReturnPathMessage] = []
      while seen.last != .pong(1) { seen.append(try source.next()) }
      #expect(seen.contains(.missedPages(block: "a", offsets: [0])))
      try source.send([(Self.page(0), page)], asHashes: false)
      try source.end()
      while try source.next() != .shut(status: 0) {}
    }
    #expect(run.kept.memory == [Self.page(0): page])
  }

  @Test(.timeLimit(.minutes(1)))
  func `where one copy has changed, the next one is taken`() throws {
    let page = knownPage(1)
    let contents = [try MadeContent([page], lies: true), try MadeContent([page])]
    let run = try receive(contents) { source in
      try source.begin()
      try source.send([(Self.page(3), page)], asHashes: true)
      try source.end()
      while try source.next() != .shut(status: 0) {}
    }
    #expect(run.kept.memory == [Self.page(3): page])
    #expect(run.report?.missedPages == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a source that goes on without what was missed is refused`() throws {
    let run = try receive([try MadeContent([])]) { source in
      try source.begin()
      try source.send([(Self.page(0), knownPage(1))], asHashes: true)
      try source.end()
      while case let message = try source.next(), message != .shut(status: 1) {}
    }
    guard case .refused(let reason, _) = run.error else {
      Issue.record("\(String(describing: run.error))")
      return
    }
    #expect(reason.contains("1 pages"))
    #expect(!run.kept.isComplete)
  }

  @Test(.timeLimit(.minutes(1)))
  func `an announcement has no more pages than the source asked for`() throws {
    let content = try MadeContent([], announces: (0..<50_000).map { UInt64($0) })
    _ = try receive([content, content]) { source in
      try source.begin(asking: 15_000)
      var count = 0
      while case let message = try source.next() {
        if case .knownPages(let part) = message { count += part.count }
        if case .knownPagesEnd(let total) = message {
          #expect(total == 15_000)
          break
        }
      }
      #expect(count == 15_000)
      try source.end()
      #expect(try source.next() == .shut(status: 0))
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `an announcement that nobody reads to its end ends with the move`() throws {
    let content = try MadeContent([], announces: (0..<1_000_000).map { UInt64($0) })
    let run = try receive([content]) { source in
      try source.begin(asking: .max)
      _ = try source.next()
      source.channel.shutdownBoth()
    }
    #expect(run.error != nil)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a question asked twice is refused, and one without the capability as well`() throws {
    let twice = try receive([try MadeContent([])]) { source in
      try source.begin()
      try source.encoder.append(.askKnownPages(limit: 1))
      try source.flush()
      while case let message = try source.next(), message != .shut(status: 1) {}
    }
    guard case .refused = twice.error else {
      Issue.record("\(String(describing: twice.error))")
      return
    }
    let never = try receive(nil) { source in
      try source.begin()
      while case let message = try source.next(), message != .shut(status: 1) {}
    }
    guard case .malformedStream(_, let cause) = never.error else {
      Issue.record("\(String(describing: never.error))")
      return
    }
    #expect("\(cause)".contains("x-known-pages"))
  }

  @Test(.timeLimit(.minutes(1)))
  func `a later hash, page or zero page of the same address wins`() throws {
    let held = [knownPage(1), knownPage(2)]
    let run = try receive([try MadeContent(held)]) { source in
      try source.begin()
      try source.send(
        [(Self.page(0), knownPage(9)), (Self.page(1), knownPage(9))], asHashes: false)
      try source.send(
        [(Self.page(0), held[0]), (Self.page(0), held[1]), (Self.page(1), held[0])],
        asHashes: true)
      try source.send([(Self.page(1), knownPage(8))], asHashes: false)
      try source.end()
      while try source.next() != .shut(status: 0) {}
    }
    #expect(run.kept.memory == [Self.page(0): held[1], Self.page(1): knownPage(8)])
  }
}
