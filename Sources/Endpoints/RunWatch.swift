// When a guest stopped and when it ran again, as QEMU's own events tell.

import QMP
import Synchronization

/// Follows the STOP and RESUME events of one QEMU from its creation to its end.
///
/// QEMU stamps events with its own clock to the microsecond, so the downtime does not depend on
/// how soon an event is read here; the arrival of the first RESUME is kept in this process's clock.
final class RunWatch: Sendable {
  private struct Account {
    var stopped: QMPEvent.Timestamp?
    var downtimeMicroseconds: Int64 = 0
    var firstResume: ContinuousClock.Instant?
    var sawStop = false
  }
  private let account = Mutex(Account())
  private let task = Mutex<Task<Void, Never>?>(nil)

  private let onFirstResume: @Sendable (ContinuousClock.Instant) -> Void

  /// - Parameter onFirstResume: told when the guest first began to run, on the task that reads
  ///   events.
  init(
    _ client: QMPClient,
    onFirstResume: @escaping @Sendable (ContinuousClock.Instant) -> Void = { _ in }
  ) {
    self.onFirstResume = onFirstResume
    let events = client.events()
    let reader = Task { [weak self] in
      for await event in events {
        guard let self else { return }
        self.take(event)
      }
    }
    task.withLock { $0 = reader }
  }

  deinit { task.withLock { $0?.cancel() } }

  private func take(_ event: QMPEvent) {
    account.withLock { account in
      switch event.name {
      case "STOP":
        account.stopped = event.timestamp
        account.sawStop = true
      case "RESUME":
        if account.firstResume == nil {
          account.firstResume = event.arrival
          onFirstResume(event.arrival)
        }
        if let stopped = account.stopped {
          account.downtimeMicroseconds += event.timestamp.microseconds(since: stopped)
        }
        account.stopped = nil
      default: break
      }
    }
  }

  /// When the guest first began to run; nil if it has not yet.
  var firstResume: ContinuousClock.Instant? { account.withLock { $0.firstResume } }

  /// Waits until the guest has begun to run, which it was told to.
  func waitForResume(atMost limit: Duration) async throws {
    let end = ContinuousClock.now + limit
    while firstResume == nil && ContinuousClock.now < end {
      try await Task.sleep(for: .milliseconds(1))
    }
  }

  /// Whether the guest stopped and has not gone on.
  var isStopped: Bool { account.withLock { $0.stopped != nil } }

  /// How long the guest stood still in all, in milliseconds; nil if it never stopped or has not
  /// gone on.
  var downtimeMilliseconds: Double? {
    account.withLock {
      guard $0.sawStop, $0.stopped == nil else { return nil }
      return Double($0.downtimeMicroseconds) / 1000
    }
  }
}

extension QMPEvent.Timestamp {
  /// Microseconds from `earlier` to this.
  func microseconds(since earlier: QMPEvent.Timestamp) -> Int64 {
    (seconds - earlier.seconds) * 1_000_000 + microseconds - earlier.microseconds
  }
}
