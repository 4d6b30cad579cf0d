// Work on a range of pages, shared out among threads of our own.

/// Calls `body` with consecutive parts of 0..<count, on as many threads as there are processors.
///
/// - Parameters:
///   - step: how many make a part; if there is no more than one part, no thread is started.
///   - progress: told, on the calling thread, how many are done.
///   - body: runs on any thread; after one has thrown, no further part is begun.
func inParallel(
  _ count: Int, step: Int, progress: (Int) -> Void = { _ in },
  _ body: @escaping @Sendable (Range<Int>) throws(StoreError) -> Void
) throws(StoreError) {
  guard count > step else {
    if count > 0 { try body(0..<count) }
    progress(count)
    return
  }
  let parts = PartQueue(count: count, step: step)
  let threadCount = min(defaultThreadCount(), (count + step - 1) / step)
  let threads: WorkerThreads
  do throws(StoreError) {
    threads = try WorkerThreads(count: threadCount) { _ in
      while let part = parts.next() {
        var failure: StoreError?
        do throws(StoreError) { try body(part) } catch { failure = error }
        parts.finish(part, failure)
      }
    }
  } catch {
    parts.stop(error)
    throw error
  }
  var reported = 0
  while true {
    let state = parts.wait(beyond: reported)
    reported = state.done
    progress(reported)
    if state.isOver { break }
  }
  threads.join()
  if let failure = parts.failure { throw failure }
}

/// Parts that are still to be done, in work and done.
private final class PartQueue: @unchecked Sendable {
  private let gate = Gate()
  private let count: Int
  private let step: Int
  // All below is touched with the gate locked.
  private var begun = 0
  private var done = 0
  private var inWork = 0
  private var failed: StoreError?

  init(count: Int, step: Int) {
    self.count = count
    self.step = step
  }

  /// The next part; nil when there is none, or none is wanted any more.
  func next() -> Range<Int>? {
    gate.locked {
      guard begun < count, failed == nil else { return nil }
      let part = begun..<min(begun + step, count)
      begun = part.upperBound
      inWork += 1
      return part
    }
  }

  func finish(_ part: Range<Int>, _ error: StoreError?) {
    gate.locked {
      inWork -= 1
      done += part.count
      if failed == nil { failed = error }
    }
    gate.signal()
  }

  func stop(_ error: StoreError) {
    gate.locked { if failed == nil { failed = error } }
  }

  var failure: StoreError? { gate.locked { failed } }

  /// Waits until more than `seen` are done, or all is over.
  func wait(beyond seen: Int) -> (done: Int, isOver: Bool) {
    gate.wait {
      let isOver = inWork == 0 && (begun == count || failed != nil)
      return done > seen || isOver ? (done, isOver) : nil
    }
  }
}
