// The one thread on which commands are carried out, whichever client they come from: a machine is
// controlled by one command at a time. It also sends the events that were held back.

import Dispatch
import Synchronization
import Transport

/// A queue of work and the thread that does it.
final class QMPCommandThread: Sendable {
  typealias Work = @Sendable () -> Void

  private struct State {
    var work: [Work] = []
    var isEnding = false
  }

  private let state = Mutex(State())
  private let somethingNew = DispatchSemaphore(value: 0)
  private let hasEnded = DispatchSemaphore(value: 0)

  /// Starts the thread.
  /// - Parameter tick: does what is due by the clock, and tells when to call it again; called
  ///   after each piece of work and whenever it is due.
  func start(
    tick: @escaping @Sendable () -> ContinuousClock.Instant?
  ) throws(TransportError) {
    _ = try NamedThread(name: "qmp-command") { self.run(tick) }
  }

  /// Queues work; none is taken once the thread is to end.
  ///
  /// The queue is short: a client has one command under way.
  func enqueue(_ work: @escaping Work) {
    state.withLock { state in
      if !state.isEnding { state.work.append(work) }
    }
    somethingNew.signal()
  }

  /// Has `tick` called soon.
  func wake() { somethingNew.signal() }

  /// Ends the thread after the work that is queued, and waits for that, within bounds.
  func end(within limit: Duration) {
    state.withLock { $0.isEnding = true }
    somethingNew.signal()
    if case .success = hasEnded.wait(timeout: .now() + limit.timeInterval) { hasEnded.signal() }
  }

  private func run(_ tick: () -> ContinuousClock.Instant?) {
    while true {
      let next = state.withLock { state -> (work: Work?, isOver: Bool) in
        if !state.work.isEmpty { return (state.work.removeFirst(), false) }
        return (nil, state.isEnding)
      }
      if next.isOver { break }
      if let work = next.work {
        work()
        continue
      }
      guard let due = tick() else {
        somethingNew.wait()
        continue
      }
      _ = somethingNew.wait(timeout: .now() + max(.zero, due - .now).timeInterval)
    }
    hasEnded.signal()
  }
}

/// The places that clients take; whoever wants one while there is none waits.
final class QMPClientPlaces: Sendable {
  // It begins at 0 and is raised: a semaphore must not end below the value it began with.
  private let free = DispatchSemaphore(value: 0)
  private let isClosed = Atomic<Bool>(false)

  init(_ count: Int) {
    for _ in 0..<count { free.signal() }
  }

  /// Waits for a place.
  /// - Returns: false once there will be none any more.
  func take() -> Bool {
    free.wait()
    return !isClosed.load(ordering: .acquiring)
  }

  func giveBack() { free.signal() }

  /// Lets everyone who waits go without a place; for at most `waiterCount` of them.
  func close(waiterCount: Int) {
    isClosed.store(true, ordering: .releasing)
    for _ in 0..<waiterCount { free.signal() }
  }
}

extension Duration {
  /// In the form that semaphores take.
  var timeInterval: DispatchTimeInterval {
    let (seconds, attoseconds) = components
    return .nanoseconds(
      Int(clamping: seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000))
  }
}
