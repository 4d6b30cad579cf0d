// An endpoint on another host: an ssh leads to its monitor, and to where it waits for memory.

import Foundation
import Glibc
import QMP
import Synchronization
import Transport

/// The way to an endpoint on another host.
///
/// Two sockets lead there: one to its monitor, one to the place beside it where it is told to wait
/// for the machine. Each is connected to once, and then they are gone; what is connected stays so
/// without Godwit.
final class RemoteEndpoint: Sendable {
  /// How long ssh may take where nobody can be asked for a password.
  private static let unattendedPatience = Duration.seconds(60)
  /// A person is told what is waited for after so long.
  private static let remarkDelay = Duration.seconds(10)
  /// What ssh says last before it ends is told with that end; what it says and goes on, at once.
  private static let wordDelay = Duration.milliseconds(500)
  /// How long the other host may take to answer before the way to it counts as gone.
  private static let patience = Duration.seconds(5)

  /// Where it is.
  let address: RemoteSocket
  /// Where it waits for the machine, as its own host names it.
  let meetingPlace: MigrationURI
  private let tunnel: SecureTunnel
  /// Whether the monitor is spoken to through this very ssh, and not through one that was left
  /// behind.
  private let hasMonitor = Mutex(false)

  private init(_ address: RemoteSocket, _ meetingPlace: String, _ tunnel: SecureTunnel) {
    self.address = address
    self.meetingPlace = .unix(path: meetingPlace)
    self.tunnel = tunnel
  }

  /// Has ssh reach the destination of a request; nil where that is on this host.
  /// - Parameter suffix: what is put behind the monitor's path for the place to meet at.
  static func reach(
    _ request: MigrateRequest, besideMonitor suffix: String, _ observer: MoveObserver,
    _ interruption: MoveInterruption
  ) async throws -> RemoteEndpoint? {
    guard let address = request.destination.remote else { return nil }
    let shell = SecureShell(command: request.secureShell, destination: address.destination)
    let meetingPlace = address.path + suffix
    let tunnel = try SecureTunnel(
      shell, to: [address.path, meetingPlace],
      in: FileManager.default.temporaryDirectory.path)
    let endpoint = RemoteEndpoint(address, meetingPlace, tunnel)
    do {
      try await endpoint.waitUntilReady(request.secureShell, observer, interruption)
    } catch {
      tunnel.terminate()
      throw error
    }
    return endpoint
  }

  /// Connects to its monitor.
  func monitor() async throws -> QMPClient {
    let path = try socket(Way.monitor)
    let mark = ContinuousClock.now
    do {
      let client = try await QMPClient.connect(through: path, to: address.text)
      hasMonitor.withLock { $0 = true }
      return client
    } catch {
      if case .noGreeting = error {
        throw MoveError(
          .failed,
          "\(error) After an ssh connection has broken, the sshd there holds the monitor until it "
            + "notices.")
      }
      guard let words = await refusal(since: mark) else { throw error }
      throw MoveError(
        .refused,
        "Nothing answers at \(address.path) on \(address.destination): \(words). Check the path, "
          + "that the endpoint runs, that this user may open its socket there, and that sshd "
          + "allows forwarding to sockets (AllowStreamLocalForwarding).")
    }
  }

  /// A connection to where the destination waits, to be handed to the source.
  ///
  /// It is accepted here before anything is known over there. What goes through the same ssh later
  /// arrives later, so that with the monitor's next answer a refusal is known, too.
  func memoryConnection(_ monitor: QMPClient) async throws -> DescriptorHandover {
    let mark = ContinuousClock.now
    let place = try wayToMeetingPlace()
    let channel = try await EngineThread.run("godwit-connect", cancel: {}) {
      try ByteChannel.connect(to: place)
    }
    // One that waits for a page may not answer, and need not.
    _ = try? await monitor.execute("query-migrate", timeout: .seconds(1))
    let isClosed = try await EngineThread.run("godwit-connect", cancel: {}) {
      try channel.waitForBytes(until: .now + .milliseconds(20))
    }
    if isClosed {
      let words = await refusal(since: mark) ?? "the connection was closed at once"
      throw MoveError(
        .failed,
        "The destination waits at \(meetingPlace) on \(address.destination), and ssh cannot "
          + "connect there: \(words). The user that ssh logs in as must be one that may open the "
          + "sockets which the endpoint makes.")
    }
    tunnel.seal()
    return DescriptorHandover(try channel.duplicateDescriptor())
  }

  /// The socket here that leads to the meeting place, as long as nobody has met.
  func wayToMeetingPlace() throws -> MigrationURI { .unix(path: try socket(Way.memory)) }

  /// Whether the other host answers and the monitor there has closed: the endpoint has ended.
  func showsThatMonitorClosed() async -> Bool {
    guard hasMonitor.withLock({ $0 }) else { return false }
    return await tunnel.answers(within: Self.patience)
  }

  /// How the way broke, in a sentence; nil where the other host still answers.
  func breakage() async -> String? {
    guard await !tunnel.answers(within: Self.patience) else { return nil }
    let words = tunnel.lines.last.map { " (\(Self.withoutStop($0.text)))" } ?? ""
    return "The ssh connection to \(address.destination) is gone\(words)."
  }

  /// Lets ssh end as soon as nobody uses it.
  func close() { tunnel.close() }

  // MARK: - Beginning

  private enum Way {
    static let monitor = 0
    static let memory = 1
  }

  private func waitUntilReady(
    _ command: String, _ observer: MoveObserver, _ interruption: MoveInterruption
  ) async throws {
    let start = ContinuousClock.now
    let isAttended = Self.isAttended
    var isRemarked = false
    var shown = start
    while true {
      switch tunnel.stage {
      case .ready: return
      case .ended: throw await failure(command)
      case .connecting: break
      }
      guard !interruption.isRequested else {
        throw MoveError(.cancelled, "Cancelled before anything was begun.")
      }
      let now = ContinuousClock.now
      for line in tunnel.lines where line.instant > shown && line.instant + Self.wordDelay < now {
        observer.note("ssh: \(line.text)")
        shown = line.instant
      }
      if now - start > Self.remarkDelay, !isRemarked {
        isRemarked = true
        observer.note("Still waiting for ssh to reach \(address.destination); Ctrl-C ends that.")
      }
      guard isAttended || now - start < Self.unattendedPatience else {
        throw MoveError(
          .refused,
          "ssh did not reach \(address.destination) within a minute\(said(". It said")), and there "
            + "is no terminal on which it could ask for anything. See whether '\(command) "
            + "\(address.destination) true' ends by itself.")
      }
      try await Task.sleep(for: .milliseconds(10))
    }
  }

  /// Whether somebody may be typing a password: ssh asks on the terminal, or by a program.
  private static var isAttended: Bool {
    let environment = ProcessInfo.processInfo.environment
    return environment["SSH_ASKPASS"] != nil || FileHandle(forUpdatingAtPath: "/dev/tty") != nil
  }

  /// Why ssh ended before it was ready.
  private func failure(_ command: String) async -> MoveError {
    let limit = ContinuousClock.now + .seconds(1)
    while tunnel.stage == .ended(nil), ContinuousClock.now < limit {
      try? await Task.sleep(for: .milliseconds(5))
    }
    // What it said may be a moment behind its end.
    try? await Task.sleep(for: .milliseconds(20))
    let destination = address.destination
    switch tunnel.stage {
    case .ended(.status(126)), .ended(.status(127)):
      return MoveError(
        .refused,
        "ssh could not be started\(said(": ")). Install it (on Debian: apt-get install "
          + "openssh-client), or say in GODWIT_SSH how it is called.")
    case .ended(.status(255)):
      return MoveError(
        .refused,
        "ssh could not connect to \(destination)\(said(": ")). See that '\(command) \(destination) "
          + "true' works, and say in GODWIT_SSH what options it needs.")
    case .ended(let exit):
      let how = exit.map { "\($0)" } ?? "ended"
      return MoveError(
        .refused,
        "ssh reached \(destination), and what holds the connection open there \(how)"
          + "\(said(": ")). The account needs a shell that runs 'echo' and 'cat', and sshd has to "
          + "allow forwarding (AllowStreamLocalForwarding).")
    case .connecting, .ready:
      return MoveError(.failed, "ssh to \(destination) ended in no way that is known.")
    }
  }

  /// What ssh has said last, behind some words; empty where it said nothing.
  private func said(_ words: String) -> String {
    let lines = tunnel.lines.suffix(3).map { Self.withoutStop($0.text) }
    return lines.isEmpty ? "" : words + lines.joined(separator: "; ")
  }

  /// What ssh says of a socket that it could not reach over there.
  private func refusal(since mark: ContinuousClock.Instant) async -> String? {
    let limit = ContinuousClock.now + .milliseconds(300)
    while true {
      if let line = tunnel.lines.last(where: { $0.instant > mark }) {
        return "ssh says '\(Self.withoutStop(line.text))'"
      }
      if case .ended = tunnel.stage { return await breakage() }
      guard ContinuousClock.now < limit else { return nil }
      try? await Task.sleep(for: .milliseconds(10))
    }
  }

  private func socket(_ index: Int) throws -> String {
    if let path = tunnel.socket(index) { return path }
    throw MoveError(
      .failed,
      "ssh made no socket here that leads to \(address.destination)\(said(": ")).")
  }

  private static func withoutStop(_ words: String) -> String { MigrateFailure.withoutStop(words) }
}
