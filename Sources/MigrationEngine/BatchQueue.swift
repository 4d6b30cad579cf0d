// Batches of encoded bytes on their way from the thread that makes them to the one that writes
// them: few, so that memory stays bounded, and used again, so that none is allocated twice.

internal import Synchronization

/// A short queue of byte batches between two threads.
final class BatchQueue: Sendable {
  private struct State {
    var full: [[UInt8]] = []
    var empty: [[UInt8]] = []
    var isFinished = false
    var isClosed = false
  }

  /// Batches that may wait to be written.
  private static let capacity = 3

  private let state = Mutex(State())
  private let signal = Signal()

  /// Hands over a full batch and gets an empty one; none when the queue was closed.
  func put(_ batch: consuming [UInt8]) -> [UInt8]? {
    while true {
      let seen = signal.changeCount
      let isFull = state.withLock { !$0.isClosed && $0.full.count >= Self.capacity }
      guard isFull else { break }
      signal.wait(after: seen, timeout: .seconds(1))
    }
    let filled = batch
    let result: [UInt8]? = state.withLock { state in
      guard !state.isClosed else { return nil }
      state.full.append(filled)
      return state.empty.popLast() ?? []
    }
    signal.announce()
    return result
  }

  /// The next batch in order; none once the last one was taken or the queue was closed.
  func take() -> [UInt8]? {
    while true {
      let seen = signal.changeCount
      let (batch, isOver) = state.withLock { state -> ([UInt8]?, Bool) in
        if state.isClosed { return (nil, true) }
        if state.full.isEmpty { return (nil, state.isFinished) }
        return (state.full.removeFirst(), false)
      }
      if let batch {
        signal.announce()
        return batch
      }
      if isOver { return nil }
      signal.wait(after: seen, timeout: .seconds(1))
    }
  }

  /// Gives a written batch back for its memory.
  func recycle(_ batch: consuming [UInt8]) {
    var emptied = batch
    emptied.removeAll(keepingCapacity: true)
    let kept = emptied
    state.withLock { $0.empty.append(kept) }
  }

  /// Waits for `duration`, or until the queue is closed.
  func pause(for duration: Duration) {
    let end = ContinuousClock.now + duration
    while true {
      let seen = signal.changeCount
      let left = end - ContinuousClock.now
      guard left > .zero, !state.withLock({ $0.isClosed }) else { return }
      signal.wait(after: seen, timeout: left)
    }
  }

  /// No more batches will be put; those that are there can be taken.
  func finish() {
    state.withLock { $0.isFinished = true }
    signal.announce()
  }

  /// Ends the queue at once: both sides get nothing any more.
  func close() {
    state.withLock { $0.isClosed = true }
    signal.announce()
  }
}
