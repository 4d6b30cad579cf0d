// The hand-over between the caller of a save and its worker threads: bounded, in batches.

/// Batches that are free, waiting and in work; their number never changes, so memory is bounded.
final class IngestQueue: @unchecked Sendable {
  private let gate = Gate()
  // All below is touched with the gate locked.
  private var free: [PageBatch]
  private var queued: [PageBatch] = []
  private var inWork = 0
  private var isClosed = false
  private var failure: StoreError?

  /// Every batch; its content stays as it was filled until `acquire` hands it out again.
  let batches: [PageBatch]

  init(batchCount: Int) {
    batches = (0..<batchCount).map { _ in PageBatch() }
    free = batches
  }

  /// A batch to fill, waiting for one if all are under way.
  func acquire() -> PageBatch {
    let batch = gate.wait { free.popLast() }
    batch.words.removeAll(keepingCapacity: true)
    return batch
  }

  /// Hands a batch to the workers; throws what any of them has met.
  func submit(_ batch: PageBatch) throws(StoreError) {
    let failure = gate.locked {
      queued.append(batch)
      return self.failure
    }
    gate.signal()
    if let failure { throw failure }
  }

  /// The next batch to work on; nil when there will be none.
  func next() -> PageBatch? {
    gate.wait { () -> PageBatch?? in
      if !queued.isEmpty {
        inWork += 1
        return .some(queued.removeFirst())
      }
      return isClosed ? .some(nil) : nil
    }
  }

  /// Whether a worker has failed: what is left need not be done.
  var hasFailed: Bool { gate.locked { failure != nil } }

  /// Gives a batch back.
  func finish(_ batch: PageBatch, _ error: StoreError?) {
    gate.locked {
      inWork -= 1
      free.append(batch)
      if failure == nil { failure = error }
    }
    gate.signal()
  }

  /// Waits until everything handed over is done; throws what a worker has met.
  func drain() throws(StoreError) {
    let failure = gate.wait { () -> StoreError?? in
      queued.isEmpty && inWork == 0 ? .some(self.failure) : nil
    }
    if let failure { throw failure }
  }

  /// Lets the workers end once the queue is empty.
  func close() {
    gate.locked { isClosed = true }
    gate.signal()
  }
}
