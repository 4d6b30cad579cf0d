// The network's other end: a tap device, an address server and a web server on it.

import Foundation
import QEMULab

/// A tap device that the guest finds an address and a file at.
///
/// It exists for as long as somebody holds it, in this process's network namespace.
final class NetworkPeer {
  /// The device's name.
  let tap = "gwkvm0"
  private static let own = "192.0.2.1"
  private static let other = "192.0.2.77"
  private let busybox: String
  private let directory: String
  private var servers: [Process] = []

  /// Finds out whether tap devices can be made here.
  init(busybox: String) throws {
    self.busybox = busybox
    directory = "/tmp/gwkvm-net-\(getpid())"
    guard access("/dev/net/tun", R_OK | W_OK) == 0 else {
      throw Skipped(reason: "/dev/net/tun cannot be opened here")
    }
    guard try Self.mayAdministerNetwork() else {
      throw Skipped(reason: "tap devices need root, or a network namespace of one's own")
    }
    let applets = try Self.run([busybox, "--list"]).text.split(separator: "\n")
    for applet in ["ip", "ping", "udhcpd", "httpd"] where !applets.contains(Substring(applet)) {
      throw Skipped(reason: "\(busybox) has no \(applet)")
    }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  deinit {
    for server in servers where server.isRunning {
      kill(server.processIdentifier, SIGKILL)
      server.waitUntilExit()
    }
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Has the guest ask for an address, ping, and fetch a file.
  func check(in guest: LinuxGuest) throws -> String {
    for words in [["addr", "add", Self.own + "/24", "dev", tap], ["link", "set", tap, "up"]] {
      let result = try Self.run([busybox, "ip"] + words)
      guard result.status == 0 else {
        throw LabError("'ip \(words.joined(separator: " "))': \(result.text)")
      }
    }
    try startServers()
    try guest.run("ip link set lo up; ip link set eth0 up")
    try guest.run("udhcpc -i eth0 -s /bin/lease -n -q -t 10 -T 1", seconds: 60)
    let address = try guest.run("ip -4 addr show dev eth0")
    guard address.contains(Self.other) else { throw LabError("its address: \(address)") }
    try guest.run("ping -c 2 -W 5 -q \(Self.own)")
    try guest.run("ping -c 2 -W 5 -q -s 1400 \(Self.own)")
    let back = try Self.run([busybox, "ping", "-c", "1", "-W", "5", "-q", Self.other])
    guard back.status == 0 else { throw LabError("the host's ping got no answer: \(back.text)") }
    let sum = try guest.run("wget -q -O - http://\(Self.own):8080/file | sha256sum")
    let expected = try LinuxChecks.output(of: ["sh", "-c", "sha256sum <\(directory)/file"])
    guard sum == expected.trimmingCharacters(in: .whitespacesAndNewlines) else {
      throw LabError("the file it fetched has the sum \(sum), not \(expected)")
    }
    return "\(Self.other) by DHCP, pings both ways, 1 MiB by TCP"
  }

  /// Whether this process has CAP_NET_ADMIN, bit 12 of the effective set.
  private static func mayAdministerNetwork() throws -> Bool {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let set = line?.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
    return set >> 12 & 1 == 1
  }

  private func startServers() throws {
    let configuration = """
      start \(Self.other)
      end \(Self.other)
      interface \(tap)
      lease_file \(directory)/leases
      pidfile \(directory)/udhcpd.pid
      option subnet 255.255.255.0

      """
    try configuration.write(toFile: directory + "/udhcpd.conf", atomically: true, encoding: .utf8)
    try Data().write(to: URL(fileURLWithPath: directory + "/leases"))
    var number: UInt64 = 1
    let content = Data(
      (0..<1 << 20).map { _ in
        number = number &* 6_364_136_223_846_793_005 &+ 1
        return UInt8(truncatingIfNeeded: number >> 56)
      })
    try content.write(to: URL(fileURLWithPath: directory + "/file"))
    for words in [
      ["udhcpd", "-f", directory + "/udhcpd.conf"],
      ["httpd", "-f", "-p", "\(Self.own):8080", "-h", directory],
    ] {
      let server = Process()
      server.executableURL = URL(fileURLWithPath: busybox)
      server.arguments = words
      server.standardError = FileHandle.nullDevice
      server.standardOutput = FileHandle.nullDevice
      try server.run()
      servers.append(server)
    }
    usleep(200_000)
  }

  private static func run(_ words: [String]) throws -> (status: Int32, text: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: words[0])
    process.arguments = Array(words.dropFirst())
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }
}
