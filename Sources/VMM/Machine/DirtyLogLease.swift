// Who uses the machine's one dirty log at the moment.

public import GuestMemory
import Synchronization

/// A machine's dirty log, lent to one user at a time: a move, or a count of dirty pages.
public final class DirtyLogLease: Sendable {
  /// The source's name and why it was chosen.
  public var facts: DirtyTrackingFacts {
    DirtyTrackingFacts(source: log.name, reason: log.reason)
  }

  private let log: any DirtyLog
  private let user = Mutex<String?>(nil)

  init(_ log: any DirtyLog) {
    self.log = log
  }

  /// Lends the log, started by nobody.
  ///
  /// - Parameter purpose: what for, as "a migration".
  /// - Throws: ``MachineError`` where somebody else has it.
  public func take(for purpose: String) throws(MachineError) -> any DirtyLog {
    let other = user.withLock { user -> String? in
      if let user { return user }
      user = purpose
      return nil
    }
    if let other {
      throw .configuration(
        "\(purpose) needs the machine's dirty log, which \(other) is using: wait for its end")
    }
    return log
  }

  /// Takes the log back, stopped by whoever had it.
  public func giveBack() {
    user.withLock { $0 = nil }
  }
}
