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
    try answer(since: arrival, reader, &encoder, mayWait: false)
    try noteProgress()
  }

  /// Writes what is asked for, section by section.
  ///
  /// - Parameters:
  ///   - arrival: when it was asked for, where that is known.
  ///   - mayWait: whether to wait for the channel; what one thread leaves because of that, the
  ///     other one writes, which is told by the signal or is writing already.
  func answer(
    since arrival: ContinuousClock.Instant?, _ reader: PageReader, _ encoder: inout StreamEncoder,
    mayWait: Bool
  ) throws {
    repeat {
      if answers.hasRoom, let page = machine.withLock({ $0.nextRequested() }) {
        session.format.beginPart(&encoder)
        if append(page, reader, &encoder) != nil {
          session.format.endSection(&encoder)
          answers.append(encoder.buffer, since: arrival)
        }
        encoder.buffer.removeAll(keepingCapacity: true)
      }
      guard try writeAnswers(mayWait: mayWait) else { return }
    } while machine.withLock({ $0.hasUrgentPages })
  }

  /// Writes the answers that wait; whether none is left.
  @discardableResult
  func writeAnswers(mayWait: Bool) throws -> Bool {
    if answers.isEmpty { return true }
    if mayWait {
      try writing.withLock { _ in try writeAnswersNow(mayWait: true) }
    } else {
      _ = try writing.withLockIfAvailable { _ in try writeAnswersNow(mayWait: false) }
    }
    return answers.isEmpty
  }

  /// Writes the answers that wait, in a thread that holds `writing`.
  func writeAnswersNow(mayWait: Bool) throws {
    while let answer = answers.first {
      let left = answer.bytes.count - answer.writtenCount
      var count = try session.channel.writeAtOnce(answer.bytes, from: answer.writtenCount)
      if count < left, mayWait {
        try session.channel.write(Array(answer.bytes.suffix(left - count)))
        count = left
      }
      counters.bytesSent.add(UInt64(count), ordering: .relaxed)
      guard answers.wrote(count) else { return }
      machine.withLock { $0.pagesWritten(1) }
      guard let since = answer.since else { continue }
      timeline.withLock { $0.latency.record(ContinuousClock.now - since) }
    }
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
