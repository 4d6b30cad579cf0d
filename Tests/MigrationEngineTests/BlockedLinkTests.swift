// Ends of a link that are not heard, by a peer that does not read before it is rid of its own
// words: they go on reading, so that such a peer gets on.

import Glibc
import MigrationCore
import PageHash
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@testable import MigrationEngine

@Suite struct `A peer that does not read for a while` {
  private static let blocks = [RAMBlockDescription(name: "a", usedLength: 256 << 12)]

  /// Waits until it is so; false where that takes too long.
  private func awaits(_ isReached: () -> Bool) -> Bool {
    let deadline = ContinuousClock.now + .seconds(30)
    while !isReached() {
      if ContinuousClock.now > deadline { return false }
      usleep(1000)
    }
    return true
  }

  // MARK: The outbox

  @Test(.timeLimit(.minutes(1)))
  func `is told everything in order, and nobody waits until it reads`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let outbox = Outbox(ours, ProgressCounters())
    let messages = (0..<64).map { [UInt8](repeating: UInt8($0), count: 40_000) }
    for message in messages { try outbox.send(message) }
    var received: [UInt8] = []
    while received.count < 64 * 40_000 { received += try theirs.read(atMost: 1 << 20) }
    #expect(received == messages.flatMap { $0 })
    try outbox.drain()
    outbox.finish()
    #expect(throws: ClosedEarly.self) { try outbox.send([1]) }
  }

  @Test(.timeLimit(.minutes(1)))
  func `ends with its link, whatever it was not told`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let outbox = Outbox(ours, ProgressCounters())
    try outbox.send([UInt8](repeating: 1, count: 4 << 20))
    let start = ContinuousClock.now
    outbox.endAfterLastWord()
    #expect(ContinuousClock.now - start < .seconds(20))
    #expect(throws: (any Error).self) { try outbox.answer([1]) }
    withExtendedLifetime(theirs) {}
  }

  @Test(.timeLimit(.minutes(1)))
  func `hears what matters less once it has read the rest`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let outbox = Outbox(ours, ProgressCounters())
    try outbox.send([UInt8](repeating: 1, count: 8000))
    let isCalm = Atomic<Bool>(false)
    let thread = try NamedThread(name: "calm") {
      try? outbox.awaitCalm(unsentBelow: 4000) { false }
      isCalm.store(true, ordering: .relaxed)
    }
    usleep(20_000)
    let wasCalm = isCalm.load(ordering: .relaxed)
    #expect(!wasCalm)
    var count = 0
    while count < 8000 { count += try theirs.read(atMost: 8000).count }
    thread.join()
    // Without a limit it is enough that the kernel has taken it.
    try outbox.send([1])
    try outbox.awaitCalm(unsentBelow: nil) { false }
    outbox.end()
  }

  // MARK: The destination

  /// Has more to announce than any socket takes.
  private final class Announced: KnownContent {
    func prepare() {}
    func announce(_ take: ([UInt64]) throws -> Bool) throws {
      for start in 0..<400 {
        guard try take((0..<1000).map { UInt64(start * 1000 + $0) }) else { return }
      }
    }
    func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool] {
      hashes.map { _ in false }
    }
  }

  /// Asks what is held, and sends pings.
  private func questions(isPostcopy: Bool) throws -> [UInt8] {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m", targetPageBits: 12))
    try encoder.append(.openReturnPath)
    if isPostcopy {
      try encoder.append(
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: 4096, targetPageSize: 4096)))
    }
    try encoder.appendSectionStart(.ram(id: 2))
    try encoder.appendRAMSetup(Self.blocks)
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 2)
    try encoder.append(.askKnownPages(limit: 1 << 20))
    for number in 1...20_000 as ClosedRange<UInt32> { try encoder.append(.ping(number)) }
    return encoder.buffer
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `is read to the end by a destination that announces what it holds`(
    isPostcopy: Bool
  ) throws {
    let machine = ModelMachine(seed: 1, targetPageSize: 4096)
    let guest = TouchingGuest(machine, touches: [])
    let (ours, theirs) = try ByteChannel.pair()
    var options = DestinationOptions()
    options.readByteCount = 4096
    options.takesPostcopy = isPostcopy
    options.knownContent = [Announced()]
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: options)
    let thread = try NamedThread(name: "destination") { _ = try? engine.run() }
    let stream = try questions(isPostcopy: isPostcopy)
    let writer = try NamedThread(name: "source") { try? ours.write(stream) }
    // Not a byte of what it says has been read by then.
    #expect(awaits { engine.progress.bytesReceived == UInt64(stream.count) })
    writer.join()
    var decoder = ReturnPathDecoder(takesKnownPages: true)
    var (prefixCount, answers, isOver) = (0, UInt32(0), false)
    while !isOver || answers < 20_000 {
      let bytes = try ours.read(atMost: 1 << 16)
      guard !bytes.isEmpty else { break }
      try decoder.feed(bytes.span.bytes) { message in
        switch message {
        case .knownPages(let prefixes): prefixCount += prefixes.count
        case .knownPagesEnd(let count): isOver = count == prefixCount
        case .pong(answers + 1): answers += 1
        default: Issue.record("\(message)")
        }
      }
    }
    #expect(prefixCount == 400_000)
    #expect(answers == 20_000)
    ours.shutdownBoth()
    thread.join()
  }

  // MARK: The source

  /// A small machine that is larger than a small socket.
  private func machine() throws -> ModelMachine {
    try #require(
      (0..<4000).lazy.map { ModelMachine(seed: $0) }.first { machine in
        machine.blocks.reduce(0) { $0 + $1.usedLength } > 200 << 10
      })
  }

  @Test(.timeLimit(.minutes(1)))
  func `is listened to by a source that has pages for it`() throws {
    let machine = try machine()
    let (ours, theirs) = try ByteChannel.pair()
    try ours.setSendBuffer(byteCount: 4096)
    try theirs.setSendBuffer(byteCount: 4096)
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    options.busyWindow = 8 << 20
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine), plan: .postcopy(), options: options)
    let isOver = Atomic<Bool>(false)
    let source = try NamedThread(name: "source") {
      _ = try? sender.run()
      isOver.store(true, ordering: .releasing)
    }
    let qemu = ModelQEMU(machine)
    let destination = try NamedThread(name: "destination") {
      do {
        while let answer = try Self.answer(qemu.model, theirs), qemu.model.state != .running {
          try theirs.write(answer)
        }
        // It asks for a page, and then has much to say; until that is read, it reads nothing.
        usleep(50_000)
        let page = machine.hostPages.last ?? RAMPageAddress(blockIndex: 0, offset: 0)
        let size = Int(machine.blocks[page.blockIndex].pageSize ?? 1024)
        let touched = qemu.model.touch(block: page.blockIndex, page: Int(page.offset) / size)
        try theirs.write(touched.request)
        var words: [UInt8] = []
        for _ in 0..<20_000 { try ReturnPathMessage.pong(7).encode(into: &words) }
        try theirs.write(words)
        while let answer = try Self.answer(qemu.model, theirs) { try theirs.write(answer) }
      } catch {}
      theirs.shutdownBoth()
    }
    #expect(awaits { isOver.load(ordering: .acquiring) })
    sender.cancel()
    theirs.shutdownBoth()
    source.join()
    destination.join()
    #expect(sender.progress.status == .completed)
    #expect(qemu.model.state == .completed)
    #expect(qemu.model.firstWrongPage() == nil)
  }

  /// What a model says to what comes next; nil at the end.
  private static func answer(
    _ model: QEMUDestinationModel, _ channel: ByteChannel
  ) throws -> [UInt8]? {
    let bytes = try channel.read(atMost: 4096)
    return bytes.isEmpty ? nil : try model.receive(bytes)
  }

  @Test(.timeLimit(.minutes(1)))
  func `is sent much at a time while its guest asks for nothing from the start`() throws {
    let machine = try machine()
    let (ours, theirs) = try ByteChannel.pair()
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    options.busyWindow = 3 << 10
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine), plan: .postcopy(), options: options)
    let qemu = ModelQEMU(machine)
    let destination = try NamedThread(name: "destination") {
      // It confirms no batch, as one that is far away does not for a long time.
      var decoder = ReturnPathDecoder()
      while let answer = try? Self.answer(qemu.model, theirs) {
        var said: [UInt8] = []
        try? decoder.feed(answer.span.bytes) { message in
          if case .pong(let value) = message, value >= 0x1000 { return }
          try message.encode(into: &said)
        }
        guard (try? theirs.write(said)) != nil else { break }
      }
      theirs.shutdownBoth()
    }
    let isOver = Atomic<Bool>(false)
    let source = try NamedThread(name: "source") {
      _ = try? sender.run()
      isOver.store(true, ordering: .releasing)
    }
    #expect(awaits { isOver.load(ordering: .acquiring) })
    sender.cancel()
    source.join()
    destination.join()
    #expect(sender.progress.status == .completed)
    #expect(qemu.model.firstWrongPage() == nil)
  }
}
