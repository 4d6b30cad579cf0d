// Whether the machine runs, and making it run or stop.

import JSON

/// Whether a machine runs, and why not.
public struct RunState: Equatable, Sendable {
  /// Whether its vCPUs run.
  public var isRunning: Bool
  /// QEMU's word for it, such as `running`, `paused`, `inmigrate`, `postmigrate`.
  public var status: String

  /// A state.
  public init(isRunning: Bool, status: String) {
    self.isRunning = isRunning
    self.status = status
  }
}

extension QMPClient {
  /// Asks whether the machine runs: `query-status`.
  public func runState() async throws(QMPError) -> RunState {
    let reply = try await reply("query-status")
    return RunState(isRunning: try reply.bool("running"), status: try reply.string("status"))
  }

  /// `stop`: the vCPUs stop; a machine that is stopped stays so.
  public func stop() async throws(QMPError) { try await execute("stop") }

  /// `cont`: the vCPUs run; one that waits for a migration runs when that has arrived.
  public func resume() async throws(QMPError) { try await execute("cont") }

  /// Presses the reset button: `system_reset`.
  public func reset() async throws(QMPError) { try await execute("system_reset") }

  /// `quit`: ends QEMU.
  ///
  /// That the connection breaks before the answer counts as success.
  public func quit() async throws(QMPError) {
    do throws(QMPError) {
      try await execute("quit")
    } catch .connectionLost {
      return
    }
  }
}
