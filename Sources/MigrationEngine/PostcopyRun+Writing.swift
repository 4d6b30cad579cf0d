// The writing half of a postcopy source: the elements, and the pages nobody waits for, a few at a
// time so that a page somebody does wait for is never far behind.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

extension PostcopyRun {
  private enum Work {
    case pages([ScheduledPage])
    case elements([SourceElement])
    case wait
    case finished
  }

  /// Pages that are taken from the scheduler at a time: a request for one of them waits for all.
  private static let groupPageCount = 8
  /// What a page that goes as its hash counts in the window, beside its bytes.
  private static let hashedPageWeight = 1024
  /// Bytes in one section while the guest asks for pages, and while it does not: a requested page
  /// waits until a section is written, which is until the destination took it.
  private var busyBatchByteCount: Int { min(32 << 10, session.options.busyWindow / 3) }
  private static let quietBatchByteCount = 64 << 10

  /// Does what the machine says until it says that it is over.
  func write() throws {
    var encoder = session.format.encoder()
    let reader = PageReader(
      endpoint: session.endpoint, format: session.format, counters: counters,
      known: session.known)
    var limiter = RateLimiter()
    while true {
      try checkGoingOn()
      let seen = signal.changeCount
      try writeAnswers(mayWait: true)
      if let preempt = session.preempt { try answer(over: preempt, since: nil, reader) }
      switch nextWork() {
      case .elements(let elements):
        do {
          try write(elements, &encoder)
        } catch {
          // Only here: what goes wrong once a package is whole does not tell that it never ran.
          machine.withLock { $0.writeFailed() }
          throw error
        }
        if elements.contains(.package) {
          timeline.withLock { timeline in
            timeline.switchover = session.elapsed
            timeline.switchoverBytes = counters.bytesSent.load(ordering: .relaxed)
          }
        }
      case .pages(let pages):
        let byteCount = try writeBatch(beginningWith: pages, reader, &encoder)
        let limit = session.bandwidthLimit.value
        let delay = limiter.delay(afterSending: byteCount, limit: limit)
        try rest(delay, under: limit, reader, &encoder)
      case .wait:
        signal.wait(after: seen, timeout: .milliseconds(200))
      case .finished:
        return
      }
      try noteProgress()
    }
  }

  /// Writes elements; throws where the kernel has not taken all of them.
  private func write(_ elements: [SourceElement], _ encoder: inout StreamEncoder) throws {
    if elements.contains(.package) || elements.contains(.resume) { try openPreemptChannel() }
    try session.format.append(elements, to: &encoder)
    if elements.contains(.ramSetup) || elements.contains(.resume) {
      try session.known?.ask(&encoder)
    }
    try flush(&encoder)
  }

  /// Whether the guest has asked for nothing for a while: since its last request, or since it was
  /// known to run.
  private var isQuiet: Bool {
    guard let last = timeline.withLock({ $0.requests.last ?? $0.pushing }) else { return false }
    return ContinuousClock.now - last > session.options.quietAfter
  }

  /// How many bytes may be under way now.
  private var window: Int {
    let options = session.options
    if isQuiet { return options.quietWindow }
    let areFew = timeline.withLock { $0.requests.areFew(at: ContinuousClock.now) }
    return areFew ? min(options.busyWindow * 4, options.quietWindow) : options.busyWindow
  }

  private func nextWork() -> Work {
    if machine.withLock({ $0.phase == .pushing && $0.destinationRunState == .running }) {
      timeline.withLock { $0.pushing = $0.pushing ?? .now }
    }
    let window = window
    return machine.withLock { machine in
      if machine.phase == .pushing, machine.flow.bytesUnderWay >= window,
        machine.answersApart || !machine.hasUrgentPages, machine.remainingPageCount > 0
      {
        return .wait
      }
      if let work = confirmation(of: machine) { return work }
      switch machine.next(isKnownZero: isKnownZero) {
      case .write(let elements): return .elements(elements)
      case .page(let page): return .pages(takeGroup(after: page, &machine))
      case .range, .wait: return .wait
      case .finish: return .finished
      }
    }
  }

  /// Before the end, the destination has to have said what it misses of what went as hashes.
  private func confirmation(of machine: PostcopySource) -> Work? {
    guard let known = session.known, machine.phase == .pushing, machine.remainingPageCount == 0,
      known.unconfirmedCount > 0
    else { return nil }
    return known.beginBarrier().map { .elements([.ping($0)]) } ?? .wait
  }

  private func isKnownZero(_ page: RAMPageAddress) -> Bool {
    session.endpoint.isKnownZero(
      page, byteCount: Int(session.format.blocks[page.blockIndex].pageSize ?? 0))
  }

  /// The pages that are written together with `first`: none with one that the guest waits for,
  /// and no more than one at a time of huge ones.
  private func takeGroup(
    after first: ScheduledPage, _ machine: inout PostcopySource
  ) -> [ScheduledPage] {
    var pages = [first]
    var byteCount = first.byteCount
    while pages[pages.count - 1].priority != .requested, pages.count < Self.groupPageCount,
      byteCount < busyBatchByteCount,
      case .page(let page) = machine.nextPageOnly(isKnownZero: isKnownZero)
    {
      pages.append(page)
      byteCount += page.byteCount
    }
    return pages
  }

  /// Writes a section of pages, and says how many bytes it took.
  private func writeBatch(
    beginningWith first: [ScheduledPage], _ reader: PageReader, _ encoder: inout StreamEncoder
  ) throws -> Int {
    isInterrupted.store(false, ordering: .relaxed)
    let limit = isQuiet ? Self.quietBatchByteCount : busyBatchByteCount
    session.format.beginPart(&encoder)
    var (written, hashed) = (0, 0)
    var group = first
    // Before the machine has been handed over, everything that was sent has to be there.
    let mayHash = session.known != nil && machine.withLock { $0.phase == .pushing }
    while true {
      reader.readAhead(group.map(\.address), byteCount: group.first?.byteCount ?? 0)
      for page in group {
        // What the guest waits for is not to be looked for first.
        let isHashed = mayHash && page.priority != .requested
        guard let wasHashed = append(page, reader, &encoder, mayHash: isHashed) else { continue }
        written += 1
        hashed += wasHashed ? 1 : 0
      }
      if encoder.buffer.count >= limit || group.contains(where: { $0.priority == .requested })
        || isInterrupted.load(ordering: .relaxed)
      {
        break
      }
      group = machine.withLock { machine in
        guard case .page(let page) = machine.nextPageOnly(isKnownZero: isKnownZero) else {
          return []
        }
        return takeGroup(after: page, &machine)
      }
      if group.isEmpty { break }
    }
    session.format.endSection(&encoder)
    let byteCount = encoder.buffer.count
    // To look for a page takes the destination longer than to read the bytes of its hash.
    let weight = byteCount + hashed * Self.hashedPageWeight
    let ping: UInt32? = machine.withLock { machine in
      machine.phase == .pushing ? machine.batchWritten(byteCount: weight) : nil
    }
    if let ping { try session.format.append([.ping(ping)], to: &encoder) }
    try flush(&encoder)
    machine.withLock { $0.pagesWritten(written) }
    counters.pagesPushed.add(UInt64(written), ordering: .relaxed)
    return byteCount
  }

  /// Appends a page, or tells the machine that it cannot be read.
  ///
  /// - Returns: whether it went as its hash; nil where it could not be read.
  func append(
    _ page: ScheduledPage, _ reader: PageReader, _ encoder: inout StreamEncoder,
    mayHash: Bool = false
  ) -> Bool? {
    do {
      return try reader.append(
        page.address, byteCount: page.byteCount, mayHash: mayHash, to: &encoder)
    } catch {
      machine.withLock { $0.pageDamaged(page.address) }
      return nil
    }
  }

  /// Writes everything in the encoder, behind the answers that wait.
  private func flush(_ encoder: inout StreamEncoder) throws {
    try writing.withLock { _ in
      try writeAnswersNow(mayWait: true)
      try session.flush(&encoder)
    }
  }

  /// Waits because of the bandwidth limit, until that changes; it does not hold for what the guest
  /// waits for.
  private func rest(
    _ delay: Duration, under limit: UInt64?, _ reader: PageReader, _ encoder: inout StreamEncoder
  ) throws {
    let end = ContinuousClock.now + delay
    while true {
      let seen = signal.changeCount
      let left = end - ContinuousClock.now
      guard left > .zero else { return }
      if session.preempt == nil { try answer(since: nil, reader, &encoder, mayWait: true) }
      try checkGoingOn()
      if session.bandwidthLimit.value != limit { return }
      signal.wait(after: seen, timeout: left)
    }
  }
}
