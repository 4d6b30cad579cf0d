// Slowing processors down: they rest for a share of the time, all of them at the same moments, as
// QEMU's do (10 ms of running for each rest).

import MigrationCore
import Synchronization
import Transport

/// Makes a machine's processors rest for a share of the time.
///
/// A thread of its own, which there is only while somebody is slowed down, counts the rests; each
/// processor's thread looks whether it has taken the latest one.
final class VCPUThrottle: Sendable {
  /// What a processor runs between two rests.
  static let turn: Duration = .milliseconds(10)

  private struct State {
    /// The share of the time that is rested, in percent; 0 for none.
    var percent = 0
    var isTicking = false
  }

  private let state = Monitor(State())
  private let rests = Atomic<UInt64>(0)
  /// How long a rest is, in microseconds.
  private let restMicroseconds = Atomic<Int64>(0)
  /// Gets the processors out of the guest, so that they see that a rest is due.
  private let kick: @Sendable () -> Void

  init(kick: @escaping @Sendable () -> Void) {
    self.kick = kick
  }

  /// The share of the time that processors rest, in percent, 1 to 99; 0 lets them run.
  ///
  /// Takes effect within a turn; where no thread can be had, nothing is slowed down.
  func set(percent: Int) {
    let percent = min(max(percent, 0), 99)
    let rest = Self.turn * percent / (100 - percent)
    restMicroseconds.store(Int64(rest / .microseconds(1)), ordering: .relaxed)
    let starts = state.update { state in
      state.percent = percent
      defer { if percent > 0 { state.isTicking = true } }
      return percent > 0 && !state.isTicking
    }
    guard starts else { return }
    do throws(TransportError) {
      _ = try NamedThread(name: "throttle") { [self] in tick() }
    } catch {
      state.update { $0.isTicking = false }
    }
  }

  private func tick() {
    while true {
      let percent = state.update { state in
        if state.percent == 0 { state.isTicking = false }
        return state.percent
      }
      guard percent > 0 else { return }
      let period = Self.turn * 100 / (100 - percent)
      _ = state.wait(atMost: period) { $0.percent == percent ? nil : () }
      rests.add(1, ordering: .relaxed)
      kick()
    }
  }

  /// How long a processor has to rest now, that has taken `taken` rests so far; nil where it has
  /// not.
  func restDue(_ taken: inout UInt64) -> Duration? {
    let count = rests.load(ordering: .relaxed)
    guard count != taken else { return nil }
    taken = count
    let microseconds = restMicroseconds.load(ordering: .relaxed)
    return microseconds > 0 ? .microseconds(microseconds) : nil
  }
}
