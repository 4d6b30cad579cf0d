// Several moves at once, shown as one.

import Synchronization

/// Adds up the progress of moves that run side by side.
final class ProgressSum: Sendable {
  private let latest: Mutex<[MoveProgress]>
  private let target: MoveObserver

  /// A sum of `count` moves, reported to `target`.
  init(of count: Int, _ target: MoveObserver) {
    latest = Mutex(Array(repeating: MoveProgress(phase: .preparing), count: count))
    self.target = target
  }

  /// Where the move numbered `index` reports.
  func observer(_ index: Int) -> MoveObserver {
    MoveObserver(
      progress: { progress in
        let sum = self.latest.withLock { latest in
          latest[index] = progress
          return Self.sum(latest)
        }
        self.target.progress(sum)
      }, note: target.note, running: target.running)
  }

  /// The moves as one: it is in the phase of the one that is furthest behind, and over when the
  /// slowest is.
  private static func sum(_ moves: [MoveProgress]) -> MoveProgress {
    let order: [MoveProgress.Phase] = [.preparing, .memory, .running, .sealing]
    let phases = moves.map(\.phase)
    let totals = moves.compactMap(\.bytesTotal)
    return MoveProgress(
      phase: order.first(where: phases.contains) ?? .memory,
      bytesDone: moves.reduce(0) { $0 + $1.bytesDone },
      bytesTotal: totals.count == moves.count ? totals.reduce(0, +) : nil,
      bytesPerSecond: moves.reduce(0) { $0 + $1.bytesPerSecond },
      zeroPages: moves.reduce(0) { $0 + $1.zeroPages },
      pageRequests: moves.reduce(0) { $0 + $1.pageRequests },
      secondsLeft: moves.compactMap(\.secondsLeft).max())
  }
}
