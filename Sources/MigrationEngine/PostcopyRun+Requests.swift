// The reading half of a postcopy source: what the destination says, and the pages it waits for.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

extension PostcopyRun: ReturnPathTaker {
  func take(_ message: ReturnPathMessage, at arrival: ContinuousClock.Instant) throws {
    if case .requestPages = message {
      isInterrupted.store(true, ordering: .relaxed)
      timeline.withLock { $0.requests.note(arrival) }
    }
    // Under one lock, so that no page is missed between the last one's confirmation and the end.
    try machine.withLock { machine in
      switch try session.known?.take(message) ?? .other {
      case .other: try machine.receive(message)
      case .taken: break
      case .missed(let pages): machine.missed(pages)
      }
    }
    if case .pong(1) = message { session.preempt?.noteAnswer() }
    if case .pong(3) = message {
      timeline.withLock { $0.running = session.elapsed }
    }
  }

  func answer(
    since arrival: ContinuousClock.Instant, _ reader: PageReader, _ encoder: inout StreamEncoder
  ) throws {
    if let preempt = session.preempt {
      try answer(over: preempt, since: arrival, reader)
      return try noteProgress()
    }
    while let page = machine.withLock({ $0.nextRequested() }) {
      session.format.beginPart(&encoder)
      guard append(page, reader, &encoder) != nil else {
        encoder.buffer.removeAll(keepingCapacity: true)
        continue
      }
      session.format.endSection(&encoder)
      try writing.withLock { _ in try session.flush(&encoder) }
      machine.withLock { $0.pagesWritten(1) }
      timeline.withLock { $0.latency.record(ContinuousClock.now - arrival) }
    }
    try noteProgress()
  }

  /// Writes what is asked for over the channel that is there for it, past everything else.
  ///
  /// - Parameter arrival: when it was asked for; nil for a thread that only looks whether anything
  ///   is, and leaves it to one that is writing already.
  func answer(
    over preempt: PreemptLink, since arrival: ContinuousClock.Instant?, _ reader: PageReader
  ) throws {
    // Most often there is nothing, and the other thread does it.
    guard arrival != nil || machine.withLock({ $0.hasUrgentPages }) else { return }
    try preempt.write(mayWait: arrival != nil) { encoder in
      guard let page = machine.withLock({ $0.nextRequested() }) else { return false }
      // One that cannot be read is none that goes.
      _ = append(page, reader, &encoder)
      return true
    } written: { byteCount in
      session.counters.bytesSent.add(UInt64(byteCount), ordering: .relaxed)
      machine.withLock { $0.pagesWritten(1) }
      guard let arrival else { return }
      timeline.withLock { $0.latency.record(ContinuousClock.now - arrival) }
    }
  }

  /// Whether the machine is through; the end of the return path is in order then.
  var isOver: Bool {
    machine.withLock { machine in
      if case .finished = machine.phase { return true }
      return false
    }
  }

  /// Whether the destination said its last word.
  var isConfirmed: Bool {
    machine.withLock { machine in
      switch machine.phase {
      case .finished(.completed), .finished(.destinationFailed): true
      default: false
      }
    }
  }
}
