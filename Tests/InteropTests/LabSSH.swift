// An sshd of the test's own on loopback, with keys that nobody else has.

import Endpoints
import Foundation
import Glibc
import QEMULab

/// An sshd that lets this user in with a key made for it, and what `godwit` needs to reach it.
final class LabSSH {
  /// Why there can be none here; nil where there can.
  static let objection: String? = {
    guard let shell = getpwuid(geteuid()).map({ String(cString: $0.pointee.pw_shell) }),
      !["nologin", "false"].contains(URL(fileURLWithPath: shell).lastPathComponent)
    else { return "this user has no shell to log in to" }
    for program in [server, "/usr/bin/ssh", "/usr/bin/ssh-keygen"]
    where !FileManager.default.isExecutableFile(atPath: program) {
      return "no \(program): scripts/install-dependencies ci installs it"
    }
    return nil
  }()

  private static let server = "/usr/sbin/sshd"

  /// The host's name for its clients.
  let host = "lab"

  private let folder: String
  /// Ends the server when it is closed, and so with this process, however that ends.
  private let leash = Pipe()
  private var keeper: DetachedProcess?

  init() throws {
    folder = NSTemporaryDirectory() + "gwssh-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    // Where sshd of root leaves its child that is not trusted yet.
    if geteuid() == 0 { mkdir("/run/sshd", 0o755) }
    for key in ["host", "user"] {
      try Self.run(
        "/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "\(folder)/\(key)"])
    }
    let port = try Self.freePort()
    try FileManager.default.copyItem(atPath: "\(folder)/user.pub", toPath: "\(folder)/authorized")
    let hostKey = try String(contentsOfFile: "\(folder)/host.pub", encoding: .utf8)
    try write("known", "lab \(hostKey)")
    try write("nobody", "")
    try write(
      "sshd_config",
      """
      Port \(port)
      ListenAddress 127.0.0.1
      HostKey \(folder)/host
      AuthorizedKeysFile \(folder)/authorized
      PidFile none
      StrictModes no
      UsePAM no
      PermitRootLogin yes
      PasswordAuthentication no
      PrintMotd no
      """)
    try write("config", clientConfiguration(port: port, known: "known"))
    try write("stranger", clientConfiguration(port: port, known: "nobody"))
    try write("closed", clientConfiguration(port: try Self.freePort(), known: "known"))
    _ = fcntl(leash.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    // Threads that run tests block signals, which a server would inherit.
    keeper = try DetachedProcess.start(
      "/bin/sh",
      arguments: [
        "-c", "\"$@\" 3<&- & read -r _ <&3; kill $!; wait", "sshd", Self.server, "-D", "-E",
        "\(folder)/log", "-f", "\(folder)/sshd_config",
      ], logPath: "/dev/null", handing: [leash.fileHandleForReading.fileDescriptor])
    try waitUntilListening(port)
  }

  deinit {
    leash.fileHandleForWriting.closeFile()
    while let keeper, !keeper.hasEnded() { usleep(1000) }
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// An ssh with one of the configurations: `config`, `stranger` (which does not know the host's
  /// key) or `closed` (where nobody listens).
  func command(_ configuration: String = "config") -> String {
    "ssh -F \(folder)/\(configuration)"
  }

  /// What the server has said.
  var log: String { (try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? "" }

  /// The ssh clients of this server that run.
  var clients: [pid_t] {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.compactMap(pid_t.init).filter { process in
      let words =
        (try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(process)/cmdline"))) ?? Data()
      let line = String(decoding: words, as: UTF8.self).split(separator: "\0")
      return line.first?.hasSuffix("ssh") == true && line.contains { $0.hasPrefix(folder) }
    }
  }

  /// Breaks every connection to it, as a network that is gone.
  func cut() { for client in clients { kill(client, SIGKILL) } }

  /// Waits until no client is left.
  func requireNoClients(seconds: Double = 10) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while !clients.isEmpty {
      guard Date() < deadline else { throw LabError("an ssh was left over: \(clients)") }
      usleep(5000)
    }
  }

  private func clientConfiguration(port: UInt16, known: String) -> String {
    """
    Host lab
      HostName 127.0.0.1
      HostKeyAlias lab
      Port \(port)
      IdentityFile \(folder)/user
      IdentitiesOnly yes
      IdentityAgent none
      UserKnownHostsFile \(folder)/\(known)
      GlobalKnownHostsFile /dev/null
      StrictHostKeyChecking yes
      BatchMode yes
    """
  }

  private func write(_ name: String, _ text: String) throws {
    try (text + "\n").write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
  }

  private func waitUntilListening(_ port: UInt16) throws {
    let deadline = Date(timeIntervalSinceNow: 10)
    while !log.contains("Server listening") {
      guard Date() < deadline else { throw LabError("no sshd: \(log)") }
      usleep(5000)
    }
  }

  private static func run(_ program: String, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw LabError("\(program) failed") }
  }

  /// Leaves a socket's file that nobody listens behind, as a process does that is killed.
  static func leaveSocket(at path: String) throws {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let isBound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
      }
    }
    guard isBound else { throw LabError("no socket at \(path): error \(errno)") }
  }

  /// A port that nobody has, for the moment.
  private static func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    guard isBound else { throw LabError("no free port: error \(errno)") }
    return UInt16(bigEndian: address.sin_port)
  }
}
