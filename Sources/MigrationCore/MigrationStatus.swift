// The states that a migration passes through, as QEMU names them, and the steps that lead from
// one to the next. Both engines report through this type, so an impossible history cannot be told.

/// Where a migration stands, under the names that QEMU gives these states.
public enum MigrationStatus: String, Sendable, CaseIterable {
  /// Nothing has begun.
  case none
  /// The channel is open; what is to be moved is being announced.
  case setup
  /// Memory is moving and the destination's machine does not run.
  case active
  /// The machine stands still and waits for the word to switch over.
  case preSwitchover = "pre-switchover"
  /// The device state is moving; a source says so, a destination is `active` to the end.
  case device
  /// The destination's machine runs, and pages follow as it asks for them.
  case postcopyActive = "postcopy-active"
  /// The link broke while the destination's machine ran; it waits for the missing pages.
  case postcopyPaused = "postcopy-paused"
  /// A new link is being made.
  case postcopyRecoverSetup = "postcopy-recover-setup"
  /// A new link is up; both sides find out which pages arrived.
  case postcopyRecover = "postcopy-recover"
  /// Somebody asked for an end; the threads are stopping.
  case cancelling
  /// Ended because somebody asked for it.
  case cancelled
  /// Everything arrived.
  case completed
  /// Ended by an error before the destination's machine could run.
  case failed

  /// Whether nothing can follow.
  public var isFinal: Bool { Self.successors[self, default: []].isEmpty }

  /// Whether a migration in this state may pass to `next`.
  public func allows(_ next: MigrationStatus) -> Bool {
    Self.successors[self, default: []].contains(next)
  }

  /// Every legal step; the diagram in `Docs/Engines.md` is drawn from it.
  ///
  /// A migration whose destination runs never fails: it can only be paused, because the one good
  /// copy of the machine is then the running one, and it waits until a new link brings the rest.
  public static let successors: [MigrationStatus: Set<MigrationStatus>] = [
    .none: [.setup],
    .setup: [.active, .failed, .cancelling],
    .active: [.preSwitchover, .device, .postcopyActive, .completed, .failed, .cancelling],
    .preSwitchover: [.device, .failed, .cancelling],
    .device: [.postcopyActive, .completed, .failed, .cancelling],
    .postcopyActive: [.postcopyPaused, .completed],
    .postcopyRecover: [.postcopyActive, .postcopyPaused],
    .postcopyRecoverSetup: [.postcopyRecover, .postcopyPaused],
    .postcopyPaused: [.postcopyRecoverSetup, .postcopyRecover],
    .cancelling: [.cancelled],
    .cancelled: [],
    .completed: [],
    .failed: [],
  ]
}

/// A step that the table of `MigrationStatus` does not have.
public struct IllegalTransition: Error, Equatable, Sendable, CustomStringConvertible {
  /// The state before.
  public let from: MigrationStatus
  /// The state that was to follow.
  public let to: MigrationStatus

  /// A sentence for a person.
  public var description: String {
    "A migration in state \(from.rawValue) cannot become \(to.rawValue): this is a fault in "
      + "Godwit; please report it."
  }
}

/// The history of one migration: a status that changes by legal steps only.
public struct StatusLine: Sendable {
  /// The present status.
  public private(set) var current: MigrationStatus = .none

  /// A history that begins with `status`: `.none`, or `.postcopyPaused` for a recovery.
  public init(from status: MigrationStatus = .none) {
    current = status
  }

  /// Takes one step; staying where it is counts as none.
  public mutating func advance(to next: MigrationStatus) throws(IllegalTransition) {
    if next == current { return }
    guard current.allows(next) else { throw IllegalTransition(from: current, to: next) }
    current = next
  }
}
