// A process that keeps a QEMU's monitor open while a guest may be waiting for its pages.
//
// A guest that waits for a page while it takes an interrupt stops QEMU's main loop with it, and a
// main loop that stands still greets no new monitor client: only one that negotiated before can
// tell QEMU, out of band, to take a new connection (`migrate-recover`). Should Godwit be killed,
// its keeper still has that client's connection, and hands it to the next `--recover`.

import Foundation
import Glibc
import QMP
import Transport

/// The keeper of one restore, seen from the process that serves its pages.
///
/// Dropping it without `dismiss()` leaves the keeper at its post: it waits until it is asked for
/// the connection, or until QEMU ends.
public final class MonitorKeeper: Sendable {
  /// The number under which the keeper finds the monitor's connection.
  static let monitorDescriptor: Int32 = 3
  /// The number under which the keeper finds its end of the leash.
  static let leashDescriptor: Int32 = 4
  /// Sent over the leash when the restore is over and nothing needs to be kept.
  static let dismissal: UInt8 = 0x44

  /// Where the keeper hands the connection over.
  let socketPath: String
  private let leash: ByteChannel

  /// Starts a keeper for the client's connection.
  ///
  /// - Parameter command: what to run; it must call `MonitorKeeper.serve` with the path that is
  ///   added as its last argument.
  convenience init(command: [String], client: QMPClient, for process: ProcessIdentity) throws {
    try self.init(command: command, client: client, at: Self.socketPath(for: process))
  }

  /// Starts a keeper that hands the connection over at `path`.
  init(command: [String], client: QMPClient, at path: String) throws {
    guard let executable = command.first, let monitor = try client.duplicateDescriptor() else {
      throw MoveError(.failed, "There is no monitor connection to keep.")
    }
    socketPath = path
    var ends = try SocketPair()
    leash = try ByteChannel(adopting: ends.take(), peer: "the keeper of the monitor")
    let other = try ends.take().duplicate()
    _ = try DetachedProcess.start(
      executable, arguments: command.dropFirst() + [socketPath], logPath: "/dev/null",
      handing: [monitor.raw, other.raw])
  }

  /// Where the keeper of this process's monitor listens, if there is one.
  static func socketPath(for process: ProcessIdentity) -> String {
    FileManager.default.temporaryDirectory
      .appendingPathComponent("godwit-keeper-\(process.pid)-\(process.startTicks)").path
  }

  /// Where the keeper of a monitor on another host listens: that of the destination whose machine
  /// waits for pages of this source.
  static func socketPath(forDestinationOf source: ProcessIdentity) -> String {
    FileManager.default.temporaryDirectory
      .appendingPathComponent("godwit-keeper-from-\(source.pid)-\(source.startTicks)").path
  }

  /// Ends the keeper: its monitor is needed no longer.
  func dismiss() { try? leash.write([Self.dismissal]) }

  /// The monitor's connection, from the keeper of a restore that broke; nil if there is none.
  static func takeOver(at socketPath: String) -> OwnedDescriptor? {
    guard let address = try? MigrationURI("unix:\(socketPath)"),
      let channel = try? ByteChannel.connect(to: address, timeout: .seconds(2)),
      let number = try? channel.readWithDescriptor(atMost: 1).descriptor
    else { return nil }
    return OwnedDescriptor(adopting: number)
  }

  /// The keeper's own life, in its own process: returns when there is nothing left to keep.
  public static func serve(socketPath: String) {
    // A left-over of a keeper that was killed; its name says which QEMU it is for.
    unsafe unlink(socketPath)
    defer { unsafe unlink(socketPath) }
    umask(0o177)
    guard let address = try? MigrationURI("unix:\(socketPath)"),
      let listener = try? Listener(address)
    else { return }
    let handover = try? NamedThread(name: "handover") {
      guard let taker = try? listener.accept() else { return }
      try? taker.write([Self.dismissal], passing: monitorDescriptor)
      unsafe unlink(socketPath)
      exit(0)
    }
    waitForTheEnd()
    listener.cancel()
    handover?.join()
  }

  /// Waits until QEMU closes the monitor or the restore is over.
  private static func waitForTheEnd() {
    // Nothing is read from the monitor, whose words are for the next client; only its end counts.
    var polled = [
      pollfd(fd: monitorDescriptor, events: 0, revents: 0),
      pollfd(fd: leashDescriptor, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      // SAFETY: the array has as many entries as it says.
      let count = unsafe poll(&polled, nfds_t(polled.count), -1)
      if count < 0 && errno == EINTR { continue }
      guard count > 0, polled[0].revents == 0 else { return }
      var word: UInt8 = 0
      // SAFETY: one byte fits.
      let received = unsafe read(leashDescriptor, &word, 1)
      if received == 1 && word == dismissal { return }
      // The serving process is gone without a word: the guest may need the monitor now.
      if received <= 0 { polled[1].fd = -1 }
    }
  }
}
