// Our source in virtual time: the real state machine and the real encoder, driven as the engine
// drives them, by two writers that interleave.

import MigrationCore
import Wire

/// A deliberate fault of our own side, to prove that the simulation would notice.
public enum Sabotage: String, Sendable, CaseIterable {
  /// A page is sent a second time now and then.
  case repeatsPages
  /// A page is forgotten now and then.
  case forgetsPages
  /// Requested pages are not served.
  case ignoresRequests
  /// A recovery sends everything again.
  case ignoresBitmaps
  /// A host page is cut in two.
  case splitsHostPages
  /// Nothing is discarded before the switch.
  case discardsNothing
  /// What goes over the channel of requested pages is lost now and then.
  case losesUrgentPages
  /// What goes wrong behind a whole package counts as its not having gone out.
  case forgetsPackages
}

/// One connection of a postcopy source.
final class SourceActor {
  private(set) var machine: PostcopySource
  private(set) var violation: ProtocolViolation?
  var onEnd: () throws -> Void = {}

  private let model: ModelMachine
  /// What a target page holds; nil for zeros.
  private let content: (RAMPageAddress) -> [UInt8]?
  private let clock: VirtualClock
  private let link: FaultyLink
  /// Where requested pages go, where they have a channel of their own.
  private let preempt: FaultyLink?
  private let format: SourceFormat
  private let sabotage: Sabotage?
  private let damaged: Set<RAMPageAddress>
  private let window: Int
  private var random: SeededRandom
  private var decoder: ReturnPathDecoder
  private var urgentEncoder: StreamEncoder
  private var isWriterBusy = false
  private var isAlive = true

  init(
    model: ModelMachine, clock: VirtualClock, link: FaultyLink, beginning: PostcopySource.Beginning,
    demandOrder: DemandOrder, damaged: Set<RAMPageAddress>, sabotage: Sabotage?, window: Int,
    seed: UInt64, content: ((RAMPageAddress) -> [UInt8]?)? = nil,
    decoder: ReturnPathDecoder? = nil, preempt: FaultyLink? = nil
  ) {
    self.preempt = preempt
    self.model = model
    self.content = content ?? model.content
    self.clock = clock
    self.link = link
    self.sabotage = sabotage
    self.damaged = damaged
    random = SeededRandom(seed: seed)
    self.window = window
    format = SourceFormat(
      configuration: StreamConfiguration(machine: "pc-i440fx-7.2"), blocks: model.blocks,
      targetPageSize: model.targetPageSize, ramSectionID: model.ramSectionID,
      deviceState: model.deviceState, ordinaryPageSize: model.targetPageSize, isPostcopy: true)
    machine = PostcopySource(
      blocks: format.blocks, targetPageSize: model.targetPageSize, demandOrder: demandOrder,
      beginning: beginning)
    machine.answersApart = preempt != nil
    // Behind a precopy the same return path goes on, perhaps in the middle of a message.
    self.decoder = decoder ?? ReturnPathDecoder(pageCounts: format.pageCounts)
    urgentEncoder = format.encoder()
  }

  /// Whether it has said and heard everything.
  var isFinished: Bool {
    if case .finished = machine.phase { return true }
    return false
  }

  /// The link is gone: nothing more is done.
  func stop() {
    if sabotage == .forgetsPackages { machine.writeFailed() }
    isAlive = false
  }

  // MARK: Writing

  func write() throws {
    guard isAlive, !isWriterBusy else { return }
    // Whoever writes meets the broken link before anybody tells of it.
    guard link.isUp else { return }
    if preempt != nil { try answer() }
    if machine.phase == .pushing, machine.flow.bytesUnderWay >= window, !machine.hasUrgentPages,
      machine.remainingPageCount > 0
    {
      return
    }
    let limit = random.next()
    let isKnownZero: (RAMPageAddress) -> Bool = { (limit ^ $0.offset >> 10) % 5 == 0 }
    switch machine.next(isKnownZero: isKnownZero) {
    case .write(let elements):
      var encoder = format.encoder()
      try format.append(elements.filter(isAllowed), to: &encoder)
      // Of what a link did not take whole, the kernel may have taken all the same.
      if !link.send(encoder.buffer, .forward), random.chance(50) { machine.writeFailed() }
      // Whoever has written a package may rest long before the next step.
      writeAgain(after: random.chance(50) ? UInt64(random.below(1_000_000)) : 2_000)
    case .page(let first):
      var pages = [first]
      while pages.count < 1 + random.below(8),
        case .page(let page) = machine.nextPageOnly(isKnownZero: isKnownZero)
      {
        pages.append(page)
      }
      // Reading and encoding take a while, in which the other writer may write.
      isWriterBusy = true
      clock.after(UInt64(1_000 + random.below(30_000))) { [self] in
        isWriterBusy = false
        guard isAlive else { return }
        try finishBatch(pages)
        writeAgain(after: 500)
      }
    case .range: throw Violation("a postcopy source that sends ranges")
    case .wait: return
    case .finish:
      isAlive = false
      try onEnd()
    }
  }

  private func isAllowed(_ element: SourceElement) -> Bool {
    guard sabotage == .discardsNothing, case .discard = element else { return true }
    return false
  }

  private func writeAgain(after delay: UInt64) {
    clock.after(delay) { [self] in try write() }
  }

  private func finishBatch(_ pages: [ScheduledPage]) throws {
    var encoder = format.encoder()
    format.beginPart(&encoder)
    var written = 0
    for page in pages where try append(page, &encoder) { written += 1 }
    format.endSection(&encoder)
    if machine.phase == .pushing,
      let ping = machine.batchWritten(byteCount: encoder.buffer.count)
    {
      try encoder.append(.ping(ping))
    }
    send(encoder.buffer)
    machine.pagesWritten(written)
  }

  /// Appends a page, unless it is damaged.
  private func append(_ page: ScheduledPage, _ encoder: inout StreamEncoder) throws -> Bool {
    if damaged.contains(page.address) {
      machine.pageDamaged(page.address)
      return false
    }
    if sabotage == .forgetsPages, random.chance(5) { return true }
    let repetitions = sabotage == .repeatsPages && random.chance(5) ? 2 : 1
    for _ in 0..<repetitions {
      for offset in stride(from: 0, to: page.byteCount, by: model.targetPageSize) {
        if sabotage == .splitsHostPages, offset > 0, random.chance(20) { continue }
        let target = RAMPageAddress(
          blockIndex: page.address.blockIndex, offset: page.address.offset + UInt64(offset))
        if let content = content(target) {
          try encoder.appendPageHeader(target)
          encoder.buffer += content
        } else {
          try encoder.appendZeroPage(target)
        }
      }
    }
    return true
  }

  private func send(_ bytes: [UInt8]) { link.send(bytes, .forward) }

  // MARK: Reading

  func receive(_ bytes: [UInt8]) throws {
    guard isAlive else { return }
    var messages: [ReturnPathMessage] = []
    try bytes.withUnsafeBytes { try decoder.feed($0.bytes) { messages.append($0) } }
    for message in messages {
      do throws(ProtocolViolation) {
        try take(message)
      } catch {
        violation = error
        throw Violation("the source objects to its destination: \(error)")
      }
    }
    try answer()
    if isFinished {
      isAlive = false
      try onEnd()
    } else {
      try write()
    }
  }

  /// Sends what is asked for: as sections of the stream, or as records on a channel of their own.
  private func answer() throws {
    while let page = machine.nextRequested() {
      if preempt == nil { format.beginPart(&urgentEncoder) }
      let isWritten = try append(page, &urgentEncoder)
      if preempt == nil { format.endSection(&urgentEncoder) }
      if isWritten {
        let isLost = sabotage == .losesUrgentPages && preempt != nil && random.chance(20)
        if !isLost { (preempt ?? link).send(urgentEncoder.buffer, .forward) }
        machine.pagesWritten(1)
      }
      urgentEncoder.buffer = []
    }
  }

  private func take(_ message: ReturnPathMessage) throws(ProtocolViolation) {
    switch message {
    case .requestPages where sabotage == .ignoresRequests:
      return
    case .receivedBitmap(let block, let bitmap) where sabotage == .ignoresBitmaps:
      try machine.receive(
        .receivedBitmap(block: block, bitmap: ReceivedBitmap(pageCount: bitmap.pageCount)))
    default:
      try machine.receive(message)
    }
  }
}
