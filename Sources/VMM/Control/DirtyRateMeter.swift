// How fast a guest dirties its memory (`calc-dirty-rate`): by comparing samples of pages before and
// after a period, or by counting what a dirty log has seen in it.

import JSON
import QMP
import Synchronization
import Transport

/// A measurement of how fast a guest dirties its memory, and the latest result.
final class DirtyRateMeter: Sendable {
  /// How it is measured, in QMP's words.
  enum Mode: String, CaseIterable, Sendable {
    case pageSampling = "page-sampling"
    case dirtyRing = "dirty-ring"
    case dirtyBitmap = "dirty-bitmap"
  }

  /// Where the measurement stands, in QMP's words.
  enum Status: String, CaseIterable, Sendable { case unstarted, measuring, measured }

  /// What is measured.
  struct Order: Sendable, Equatable {
    var mode = Mode.pageSampling
    var milliseconds: Int64 = 0
    /// Pages that are looked at in each GiB.
    var samplesPerGibibyte: UInt64 = 0
  }

  /// The latest measurement.
  struct Account: Sendable, Equatable {
    var order = Order()
    var status = Status.unstarted
    var startSeconds: Int64 = 0
    /// MiB dirtied in a second.
    var rate: UInt64?
    /// The same by vCPU.
    var ratesByProcessor: [UInt64]?
    /// Why the latest measurement came to nothing.
    var failure: String?
  }

  private let latest = Mutex(Account())

  var account: Account { latest.withLock { $0 } }

  /// Begins a measurement on a thread of its own.
  func start(_ order: Order, of machine: any MachineControl) throws(QMPRefusal) {
    let isFree = latest.withLock { account in
      guard account.status != .measuring else { return false }
      account = Account(
        order: order, status: .measuring, startSeconds: QMPEvent.Timestamp.now().seconds)
      return true
    }
    guard isFree else { throw QMPRefusal("the dirty rate is already being measured.") }
    do throws(TransportError) {
      _ = try NamedThread(name: "dirty-rate") { self.measure(order, machine) }
    } catch {
      finish(.failure(.refused(error.description)))
      throw QMPRefusal(error.description)
    }
  }

  private func measure(_ order: Order, _ machine: any MachineControl) {
    do throws(MachineError) {
      finish(.success(try Self.count(order, machine)))
    } catch {
      finish(.failure(error))
    }
  }

  private static func count(
    _ order: Order, _ machine: any MachineControl
  ) throws(MachineError) -> DirtyPageCount {
    let period = Duration.milliseconds(order.milliseconds)
    return switch order.mode {
    case .pageSampling:
      try PageSampling.count(
        in: machine, during: period, samplesPerGibibyte: order.samplesPerGibibyte)
    case .dirtyBitmap: try machine.countDirtyPages(during: period, by: .bitmap)
    case .dirtyRing: try machine.countDirtyPages(during: period, by: .ring)
    }
  }

  private func finish(_ outcome: Result<DirtyPageCount, MachineError>) {
    latest.withLock { account in
      switch outcome {
      case .success(let count):
        account.status = .measured
        account.rate = count.rate(ofPages: count.pageCount)
        account.ratesByProcessor = count.pageCountsByProcessor?.map { count.rate(ofPages: $0) }
      case .failure(let error):
        account.status = .unstarted
        account.failure = error.description
      }
    }
  }
}

extension DirtyPageCount {
  /// So many pages in the period, in MiB a second, rounded down.
  func rate(ofPages count: UInt64) -> UInt64 {
    let (seconds, attoseconds) = period.components
    let milliseconds = max(1, UInt64(seconds) * 1000 + UInt64(attoseconds / 1_000_000_000_000_000))
    return (count * 4096 * 1000 / milliseconds) >> 20
  }
}
