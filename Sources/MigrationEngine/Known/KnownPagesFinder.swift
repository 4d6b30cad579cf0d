// A thread that looks for pages which came as hashes, beside the one that receives: pages are
// placed while the next ones are looked for.

internal import PageHash
internal import Synchronization
internal import Transport

/// A thread that looks for the pages of batches, in the order in which they are handed over.
///
/// Several batches may wait for it. One alone would have each of the two threads stand still until
/// the other has heard of it, and that takes a good part of the time that a batch takes.
final class KnownPagesFinder: Sendable {
  private struct Work {
    var wanted: [KnownPagesBatch] = []
    var found: [KnownPagesBatch] = []
    var isEnded = false
  }

  private let work = Mutex(Work())
  private let thread: Mutex<NamedThread?> = Mutex(nil)
  private let signal = Signal()

  /// Starts the thread.
  init(_ contents: [any KnownContent]) throws {
    let digester = try Digester()
    let thread = try NamedThread(name: "godwit-lookup") { [self] in
      while let batch = next() {
        batch.find(in: contents, digester)
        work.withLock { $0.found.append(batch) }
        signal.announce()
      }
    }
    self.thread.withLock { $0 = thread }
  }

  /// Hands a batch over, which is the thread's until it is found.
  func begin(_ batch: KnownPagesBatch) {
    work.withLock { $0.wanted.append(batch) }
    signal.announce()
  }

  /// The first batch that has been looked for and was not taken; nil where there is none yet.
  func takeFound() -> KnownPagesBatch? {
    work.withLock { $0.found.isEmpty ? nil : $0.found.removeFirst() }
  }

  /// Waits for the next batch; one has to be under way.
  func awaitFound() -> KnownPagesBatch {
    while true {
      let seen = signal.changeCount
      if let batch = takeFound() { return batch }
      signal.wait(after: seen, timeout: .seconds(1))
    }
  }

  /// Ends the thread, and waits for that; what nobody has looked for yet is left.
  func end() {
    work.withLock { $0.isEnded = true }
    signal.announce()
    thread.withLock { $0.take() }?.join()
  }

  private func next() -> KnownPagesBatch? {
    while true {
      let seen = signal.changeCount
      let (batch, isOver) = work.withLock { work -> (KnownPagesBatch?, Bool) in
        if work.isEnded { return (nil, true) }
        return (work.wanted.isEmpty ? nil : work.wanted.removeFirst(), false)
      }
      if batch != nil || isOver { return batch }
      signal.wait(after: seen, timeout: .seconds(1))
    }
  }
}
