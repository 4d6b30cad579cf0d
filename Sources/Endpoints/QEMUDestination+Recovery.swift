// How a QEMU whose guest waits for pages gets a new connection.

import Foundation
import JSON
import QMP
import Transport

extension QEMUDestination {
  /// How often the monitor is tried, and how long between: a QEMU notices the loss of its old
  /// connection within moments.
  private static let attempts = 100
  private static let pause = Duration.milliseconds(50)
  /// A main loop that is silent for so long waits for a page itself.
  private static let patience = Duration.seconds(1)

  /// Has QEMU listen for a new connection and opens it.
  ///
  /// `migrate-recover` goes out of band, and to a socket beside the monitor's: passing a descriptor
  /// would need the main loop, which may stand still until a page comes.
  func recoveryConnection() async throws -> ByteChannel {
    try await whileListening { address in
      try await EngineThread.run("godwit-connect", cancel: {}) {
        try ByteChannel.connect(to: address)
      }
    }
  }

  /// Has QEMU listen for new connections as long as `body` makes some.
  func whileListening<Value: Sendable>(
    _ body: (MigrationURI) async throws -> Value
  ) async throws -> Value {
    let monitor = String(client.address.trimmingPrefix("unix:"))
    let path = URL(fileURLWithPath: monitor).path + ".recover"
    let address = try MigrationURI("unix:\(path)")
    defer { try? FileManager.default.removeItem(atPath: path) }
    try await listen(at: address) { try? FileManager.default.removeItem(atPath: path) }
    return try await body(address)
  }

  /// Has QEMU listen for new connections at an address of its own host.
  /// - Parameter prepare: called before, once it is known that something waits there.
  func listen(at address: MigrationURI, after prepare: () -> Void = {}) async throws {
    try await refuseIfNothingWaits()
    prepare()
    try await recover(over: address)
  }

  /// Whether nothing has been given to it yet: the restore that broke had not begun.
  func stillWaitsForMachine() async throws -> Bool {
    do {
      let migration = MigrationInfo(
        try await client.execute("query-migrate", timeout: Self.patience))
      guard migration.status == .none else { return false }
      return try await client.runState().status == "inmigrate"
    } catch QMPError.timedOut {
      return false
    }
  }

  private func refuseIfNothingWaits() async throws {
    let answer: Answer
    do {
      answer = .status(
        MigrationInfo(try await client.execute("query-migrate", timeout: Self.patience)).status)
    } catch QMPError.timedOut {
      answer = .silence
    }
    switch answer {
    case .silence, .status(.postcopyPaused), .status(.postcopyActive), .status(.postcopyRecover),
      .status(.postcopyRecoverSetup):
      return
    case .status(let status):
      throw MoveError(
        .failed,
        "The QEMU at \(client.address) does not wait for pages of a broken move (its migration "
          + "is '\(status.word)'): there is nothing to recover.")
    }
  }

  private enum Answer {
    case status(MigrationStatus)
    case silence
  }

  private func recover(over address: MigrationURI) async throws {
    var refusal: QMPError?
    for attempt in 0..<Self.attempts {
      do throws(QMPError) {
        try await client.executeOutOfBand(
          "migrate-recover", ["uri": .string("\(address)")], timeout: .seconds(5))
        return
      } catch {
        guard case .refused = error else { throw error }
        refusal = error
      }
      // One that still believes in its old connection is told that it is gone.
      if attempt == Self.attempts / 5 {
        _ = try? await client.executeOutOfBand("migrate-pause", timeout: Self.patience)
      }
      try await Task.sleep(for: Self.pause)
    }
    throw MoveError(
      .failed,
      "The QEMU at \(client.address) takes no new connection for its waiting guest. "
        + "\(refusal.map { "\($0)" } ?? "") If another move serves it, wait for that or stop it."
    )
  }
}
