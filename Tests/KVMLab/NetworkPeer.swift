// The network's other end: a tap device, an address server and a web server on it.

import Foundation
import QEMULab

/// A tap device that the guest finds an address and a file at.
///
/// It exists for as long as somebody holds it, in this process's network namespace.
final class NetworkPeer {
  /// The devices' names: a guest that moves goes from one to the next.
  static let taps = ["gwkvm0", "gwkvm1", "gwkvm2"]
  /// The name of the device of a guest that does not move.
  let tap = NetworkPeer.taps[0]
  private static let own = "192.0.2.1"
  private static let other = "192.0.2.77"
  private let busybox: String
  private let directory: String
  private var servers: [Process] = []
  /// The collector of numbers, and what it reads: nothing, for as long as it is to live.
  private var collector: (server: Process, input: Pipe)?

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
    let applets = try Command.run([busybox, "--list"]).text.split(separator: "\n")
    for applet in ["ip", "ping", "udhcpd", "httpd"] where !applets.contains(Substring(applet)) {
      throw Skipped(reason: "\(busybox) has no \(applet)")
    }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  deinit {
    endCollector()
    for server in servers where server.isRunning {
      kill(server.processIdentifier, SIGKILL)
      server.waitUntilExit()
    }
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Has the guest ask for an address, ping, and fetch a file.
  func check(in guest: LinuxGuest) throws -> String {
    for words in [["addr", "add", Self.own + "/24", "dev", tap], ["link", "set", tap, "up"]] {
      let result = try Command.run([busybox, "ip"] + words)
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
    let back = try Command.run([busybox, "ping", "-c", "1", "-W", "5", "-q", Self.other])
    guard back.status == 0 else { throw LabError("the host's ping got no answer: \(back.text)") }
    let sum = try guest.run("wget -q -O - http://\(Self.own):8080/file | sha256sum")
    let expected = try LinuxChecks.output(of: ["sh", "-c", "sha256sum <\(directory)/file"])
    guard sum == expected.trimmingCharacters(in: .whitespacesAndNewlines) else {
      throw LabError("the file it fetched has the sum \(sum), not \(expected)")
    }
    return "\(Self.other) by DHCP, pings both ways, 1 MiB by TCP"
  }

  // MARK: A guest that moves

  /// Has the network lead to a device from now on, as a switch does that learns of a move.
  func attach(to device: String) throws {
    var commands: [[String]] = []
    for other in Self.taps where other != device && Self.exists(other) {
      // The guest remembers who it spoke to by its hardware address.
      let path = "/sys/class/net/\(other)/address"
      let address = try String(contentsOfFile: path, encoding: .utf8)
      commands += [
        ["addr", "flush", "dev", other], ["link", "set", other, "down"],
        ["link", "set", device, "address", address.trimmingCharacters(in: .newlines)],
      ]
    }
    commands += [
      ["link", "set", device, "up"], ["addr", "add", Self.own + "/24", "dev", device],
    ]
    for words in commands {
      let result = try Command.run([busybox, "ip"] + words)
      guard result.status == 0 else {
        throw LabError("'ip \(words.joined(separator: " "))': \(result.text)")
      }
    }
  }

  private static func exists(_ device: String) -> Bool {
    FileManager.default.fileExists(atPath: "/sys/class/net/\(device)")
  }

  /// Has the guest send numbers over one TCP connection, for as long as it works.
  func collect(from guest: LinuxGuest) throws {
    let path = directory + "/numbers"
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let file = FileHandle(forWritingAtPath: path)
    else { throw LabError("cannot make \(path)") }
    endCollector()
    let server = Process()
    server.executableURL = URL(fileURLWithPath: busybox)
    server.arguments = ["nc", "-l", "-p", "9001"]
    // At the end of its input it would end the connection too.
    let input = Pipe()
    server.standardInput = input
    server.standardOutput = file
    server.standardError = FileHandle.nullDevice
    try server.run()
    collector = (server, input)
    try guest.run("ip link set eth0 up; ip addr add \(Self.other)/24 dev eth0")
    guest.type(
      "(n=0; while [ ! -e /tmp/end ]; do echo $n; n=$((n + 1)); usleep 100000; done) "
        + "| nc \(Self.own) 9001 >/dev/null 2>&1 &")
    try requireMoreNumbers()
  }

  private func endCollector() {
    guard let server = collector?.server else { return }
    collector = nil
    if server.isRunning { kill(server.processIdentifier, SIGKILL) }
    server.waitUntilExit()
  }

  /// Waits until more numbers come, and holds against each other all that have come.
  func requireMoreNumbers(seconds: Double = 60) throws {
    let before = try numbers().count
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try numbers().count < before + 5 {
      guard Date() < deadline else {
        throw LabError("the connection is silent after \(before) numbers")
      }
      usleep(50_000)
    }
    let all = try numbers()
    guard all == Array(0..<all.count) else {
      throw LabError("the connection lost something: \(all)")
    }
  }

  /// What has come whole, in lines.
  private func numbers() throws -> [Int] {
    let text = try String(contentsOfFile: directory + "/numbers", encoding: .utf8)
    return text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
      .compactMap { Int($0) }
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
}
