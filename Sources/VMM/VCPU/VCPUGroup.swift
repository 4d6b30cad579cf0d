// Letting all processors of a machine run, and stopping them so that it is known they stand.

import Synchronization

/// What the threads of a machine's processors agree on.
///
/// A thread runs its processor as long as ``mayRun`` says so, and otherwise stands in
/// ``stand()``. Whoever stops them calls `halt(kick:)`, which returns when all stand.
final class VCPUGroup: Sendable {
  private struct State {
    var wanted = Wanted.halted
    var standing = 0
  }

  private enum Wanted { case halted, running, ended }

  private let count: Int
  private let state: Monitor<State>
  /// A copy of "wanted is running" that costs a thread nothing to look at.
  private let running = Atomic<Bool>(false)

  /// - Parameter count: how many threads there are; all stand at first.
  init(count: Int) {
    self.count = count
    state = Monitor(State(standing: count))
  }

  // For the processors' threads

  /// Whether processors are to run; looked at after every exit.
  var mayRun: Bool { running.load(ordering: .acquiring) }

  /// Stands until processors are to run; false once they are to end.
  ///
  /// - Parameter isFirst: whether the thread has never run, and counts as standing already.
  func stand(isFirst: Bool) -> Bool {
    if !isFirst { state.update { $0.standing += 1 } }
    return state.wait { state in
      switch state.wanted {
      case .halted: return nil
      case .running:
        state.standing -= 1
        return true
      case .ended: return false
      }
    }
  }

  /// Waits, not running, until processors are no longer to run: for one that cannot go on.
  func waitForHalt() {
    state.wait { $0.wanted == .running ? nil : () }
  }

  /// Waits, not running, for that long or until processors are no longer to run.
  func rest(_ time: Duration) {
    _ = state.wait(atMost: time) { $0.wanted == .running ? nil : () }
  }

  // For those who control the machine

  /// Lets all processors run.
  func run() {
    running.store(true, ordering: .releasing)
    state.update { if $0.wanted == .halted { $0.wanted = .running } }
  }

  /// Stops all processors; when it returns, all stand.
  ///
  /// - Parameter kick: gets a processor that runs out of the guest; called once for each, after
  ///   ``mayRun`` has become false.
  func halt(kick: () -> Void) {
    running.store(false, ordering: .sequentiallyConsistent)
    state.update { if $0.wanted == .running { $0.wanted = .halted } }
    kick()
    let count = count
    state.wait { $0.standing == count ? () : nil }
  }

  /// Has all threads that stand end.
  func end() {
    state.update { $0.wanted = .ended }
  }
}
