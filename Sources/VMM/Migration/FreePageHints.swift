// The conversation in which a guest's balloon names the pages that it does not use, for one move.

import Devices
import GuestMemory

/// Asks a guest, for the time of a move, which of its pages are free.
///
/// Its driver keeps the pages that it names until it is told that the move is over; should it need
/// one before, it writes to it, which the move notices.
final class FreePageHints: Sendable {
  /// How long the first page waits at most for the guest's word; what it says later still counts.
  private static let patience = Duration.milliseconds(250)

  private struct State {
    var hasBegun = false
    var hasNamedAll = false
  }

  private let balloon: VirtioBalloon
  private let excluded: ExcludedPages
  private let state = Monitor(State())

  /// - Parameters:
  ///   - balloon: whose driver names the pages.
  ///   - excluded: told of them.
  init(_ balloon: VirtioBalloon, _ excluded: ExcludedPages) {
    self.balloon = balloon
    self.excluded = excluded
  }

  /// Asks, and waits a moment for the answer; the move has begun, and the guest runs.
  func begin() {
    let isAsked = balloon.startHinting(
      ended: { [state] in state.update { $0.hasNamedAll = true } },
      { [excluded] ranges in for range in ranges { excluded.hint(range) } })
    guard isAsked else { return }
    state.update { $0.hasBegun = true }
    _ = state.wait(atMost: Self.patience) { $0.hasNamedAll ? () : nil }
  }

  /// Asks no more: the guest is about to be stopped.
  func stop() {
    if state.update({ $0.hasBegun }) { balloon.stopHinting() }
  }

  /// Lets the guest use its pages again; the move is over.
  func end() {
    if state.update({ $0.hasBegun }) { balloon.finishHinting() }
  }
}
