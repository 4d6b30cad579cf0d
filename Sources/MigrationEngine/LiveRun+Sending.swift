// What the sending thread of a live move does, step by step.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Transport
internal import Wire

extension LiveRun {
  /// Bytes of memory in a batch; with a bandwidth limit, no more than a tenth of a second's.
  private static let batchByteCount = 512 << 10
  /// The size of a target page: batches are never smaller.
  private var pageByteCount: Int { session.format.targetPageSize }

  /// Does what the machine says until it says that it is over.
  func carryOut() throws {
    var gather = PageGather(session.format.encoder())
    var limiter = RateLimiter()
    while true {
      let seen = signal.changeCount
      let instruction = try machine.withLock { machine in
        // Together with taking the next step, so that a cancellation comes before it or too late.
        try checkGoingOn()
        if let known = session.known { machine.arePagesConfirmed = known.unconfirmedCount == 0 }
        return machine.next(at: session.elapsed)
      }
      switch instruction {
      case .write(let elements): try write(elements, &gather)
      case .track: try track()
      case .send: try sendBatch(&gather, &limiter)
      case .sync: try sync()
      case .throttle(let throttle): endpoint.throttle(throttle)
      case .pause: try pause()
      case .rest(let end):
        signal.wait(after: seen, timeout: end - session.elapsed)
      case .wait: signal.wait(after: seen, timeout: .milliseconds(500))
      case .switchToPostcopy: return try switchToPostcopy()
      case .finish: return
      }
    }
  }

  private func write(_ elements: [SourceElement], _ gather: inout PageGather) throws {
    var format = session.format
    if elements.contains(.deviceState) { format.deviceState = endpoint.deviceState }
    try format.append(elements, to: &gather.encoder)
    try session.flush(&gather.encoder)
    if elements.contains(.ramSetup) {
      try counters.advance(to: .active)
      try learnKnownPages(&gather)
      timeline.withLock { $0.setup = session.elapsed }
    }
  }

  private func track() throws {
    do {
      try endpoint.beginRounds()
    } catch {
      throw EndpointFailure(activity: "beginning to notice the machine's writes", cause: error)
    }
    let remaining = noteRemaining()
    let now = session.elapsed
    machine.withLock { $0.tracked(remaining: remaining, at: now) }
    tellPass()
  }

  private func sync() throws {
    let isLast = machine.withLock { $0.isStopped }
    // One that was held goes on, and there may be no page left to tell it by.
    if isLast { try counters.advance(to: .device) }
    let dirtied: UInt64
    do {
      // Taking the state may write to memory, which the last reading of the log has to see.
      if isLast { _ = try endpoint.takeDeviceState() }
      dirtied = try endpoint.sync()
    } catch {
      throw EndpointFailure(activity: "reading which pages the machine wrote", cause: error)
    }
    let remaining = noteRemaining()
    let now = session.elapsed
    machine.withLock { $0.synced(dirtied, remaining: remaining, at: now) }
    tellPass()
  }

  /// Notes for others what is left of the round, and what need not go; the bytes that are left.
  private func noteRemaining() -> UInt64 {
    let remaining = endpoint.remainingByteCount
    counters.remainingRAMBytes.store(remaining, ordering: .relaxed)
    counters.excludedPages.store(
      endpoint.excludedByteCount / UInt64(pageByteCount), ordering: .relaxed)
    return remaining
  }

  private func tellPass() {
    let count = machine.withLock { $0.syncCount }
    counters.passCount.store(count, ordering: .relaxed)
    options.passObserver?(count)
  }

  private func pause() throws {
    guard try settleKnownPages() else { return }
    // Not while the machine stands still, if it can be helped.
    if machine.withLock({ $0.isPostcopyWanted }) {
      try session.preempt?.connect(afterAnswer: true)
    }
    do {
      try endpoint.pause()
    } catch {
      throw EndpointFailure(activity: "stopping the machine", cause: error)
    }
    let now = session.elapsed
    machine.withLock { $0.paused(at: now) }
    timeline.withLock { $0.precopyBytes = counters.bytesSent.load(ordering: .relaxed) }
    let isHeld = machine.withLock { $0.phase == .held }
    try counters.advance(to: isHeld ? .preSwitchover : .device)
  }

  // MARK: Pages

  private func sendBatch(_ gather: inout PageGather, _ limiter: inout RateLimiter) throws {
    let isStopped = machine.withLock { $0.isStopped }
    if isStopped { try counters.advance(to: .device) }
    let limit = isStopped ? nil : bandwidthLimit.value
    var room = Self.batchByteCount
    if let limit { room = max(pageByteCount, min(room, Int(clamping: limit / 10))) }
    room = room / pageByteCount * pageByteCount
    let start = session.elapsed
    let memory = try fill(&gather, room)
    let wire: Int
    if memory > 0 {
      session.format.endSection(&gather.encoder)
      wire = try gather.write(to: session.channel)
    } else {
      wire = 0
    }
    counters.bytesSent.add(UInt64(wire), ordering: .relaxed)
    let remaining = noteRemaining()
    let now = session.elapsed
    machine.withLock { $0.sent(memory, in: now - start, remaining: remaining) }
    try rest(limiter.delay(afterSending: wire, limit: limit), under: limit)
  }

  /// Puts the next pages of the round into a batch; the bytes of memory that they are.
  private func fill(_ gather: inout PageGather, _ room: Int) throws -> UInt64 {
    var memory: UInt64 = 0
    // A destination that has announced nothing costs nothing.
    let known = session.known.flatMap { $0.isAnythingHeld ? $0 : nil }
    let digester = known == nil ? nil : try? Digester()
    var (zeros, whole): (UInt64, UInt64) = (0, 0)
    do {
      while memory < UInt64(room),
        let run = try endpoint.nextRun(limit: room - Int(memory))
      {
        if memory == 0 { session.format.beginPart(&gather.encoder) }
        if let known, let digester {
          let counts = try append(run, known, digester, to: &gather)
          zeros += counts.zeros
          whole += counts.whole
          memory += run.byteCount
          continue
        }
        var page = run.start
        for offset in stride(from: 0, to: run.byteCount, by: pageByteCount) {
          page.offset = run.start.offset + offset
          switch endpoint.lend(page) {
          case .zero:
            try gather.encoder.appendZeroPage(page)
            zeros += 1
          case .data(let content):
            // SAFETY: the content lies in the endpoint's memory, which outlives this run.
            unsafe try gather.append(page, content)
            whole += 1
          }
        }
        memory += run.byteCount
      }
    } catch {
      throw EndpointFailure(activity: "taking the next pages to send", cause: error)
    }
    counters.zeroPages.add(zeros, ordering: .relaxed)
    counters.normalPages.add(whole, ordering: .relaxed)
    return memory
  }

  /// Waits because of the bandwidth limit, until something changes.
  private func rest(_ delay: Duration, under limit: UInt64?) throws {
    let start = session.elapsed
    let end = start + delay
    defer {
      let waited = session.elapsed - start
      if delay > .zero { machine.withLock { $0.heldBack(for: waited) } }
    }
    while true {
      let seen = signal.changeCount
      let left = end - session.elapsed
      guard left > .zero else { return }
      try checkGoingOn()
      if bandwidthLimit.value != limit { return }
      if machine.withLock({ $0.isPostcopyWanted }) { return }
      signal.wait(after: seen, timeout: left)
    }
  }
}
