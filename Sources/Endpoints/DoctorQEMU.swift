// The QEMUs of this host: where they are, how old they are and what is known about that age.

import Foundation
import Transport

/// A QEMU that this host can start.
public struct InstalledQEMU: Sendable, Equatable {
  /// The executable and the arguments it always needs (where its firmware is, say).
  public let command: [String]
  /// What it says it is, such as `7.2.22`; nil where it would not say.
  public let version: String?

  /// The name of its executable, such as `qemu-system-x86_64`.
  public var name: String { command[0].split(separator: "/").last.map(String.init) ?? command[0] }

  /// The version's first two numbers, such as 7 and 2.
  var majorAndMinor: (Int, Int)? {
    let numbers = (version ?? "").split(separator: ".").prefix(2).compactMap { Int($0) }
    return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
  }

  /// What is known to be wrong with this version, and what Godwit does about it.
  public var knownProblem: String? {
    guard let (major, minor) = majorAndMinor else { return nil }
    if (major, minor) < (6, 0) {
      return "older than the versions Godwit is written for (6.0 and later)"
    }
    if (major, minor) < (10, 0) {
      return "without KVM it may lose what a guest writes during a live precopy, so Godwit saves "
        + "such guests by background snapshot or paused"
    }
    return nil
  }

  /// The commands that `GODWIT_QEMU` lists: separated by newlines or semicolons, each an
  /// executable with arguments separated by spaces.
  public static func commands(listedIn text: String) -> [[String]] {
    text.split { $0 == ";" || $0.isNewline }
      .map { $0.split(separator: " ").map(String.init) }
      .filter { !$0.isEmpty }
  }

  /// The QEMU system emulators on the `PATH`, by name, each name once.
  static func executablesOnPath(_ path: String) -> [String] {
    var found: [String: String] = [:]
    for folder in path.split(separator: ":") {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: String(folder))) ?? []
      for name in names where name.hasPrefix("qemu-system-") && found[name] == nil {
        let file = "\(folder)/\(name)"
        if FileManager.default.isExecutableFile(atPath: file) { found[name] = file }
      }
    }
    return found.sorted { $0.key < $1.key }.map(\.value)
  }

  /// The first QEMU of this host that emulates an architecture and tells its version: those that
  /// `GODWIT_QEMU` lists before the one on the `PATH`.
  public static func first(for architecture: String) async -> InstalledQEMU? {
    let environment = ProcessInfo.processInfo.environment
    let name = "qemu-system-\(architecture)"
    let candidates =
      commands(listedIn: environment["GODWIT_QEMU"] ?? "")
      + executablesOnPath(environment["PATH"] ?? "").map { [$0] }
    for command in candidates where command[0].hasSuffix(name) {
      let qemu = await examine(command)
      if qemu.version != nil { return qemu }
    }
    return nil
  }

  /// Starts the command with `--version` and takes the number from its answer.
  public static func examine(_ command: [String]) async -> InstalledQEMU {
    let answer = await output(of: command + ["--version"]) ?? ""
    let words = answer.split { $0.isWhitespace }
    // "QEMU emulator version 7.2.22 (Debian …)"
    let isQEMU = words.prefix(3) == ["QEMU", "emulator", "version"] && words.count > 3
    return InstalledQEMU(command: command, version: isQEMU ? String(words[3]) : nil)
  }

  /// What a short-lived program prints, or nil where it does not within five seconds.
  private static func output(of command: [String]) async -> String? {
    let line = command.map(quoted).joined(separator: " ") + " 2>/dev/null"
    return try? await EngineThread.run("godwit-doctor", cancel: {}) {
      let channel = try ByteChannel.connect(to: .command(line), for: .reading)
      let deadline = ContinuousClock.now + .seconds(5)
      var output: [UInt8] = []
      while output.count < 1 << 16, try channel.waitForBytes(until: deadline) {
        let bytes = try channel.read(atMost: 4096)
        guard !bytes.isEmpty else { break }
        output += bytes
      }
      return String(decoding: output, as: UTF8.self)
    }
  }

  /// A word as the shell takes it for one.
  private static func quoted(_ word: String) -> String {
    "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#)
      + "'"
  }
}

/// What `doctor` says about QEMU.
enum DoctorQEMU {
  static func findings() async -> [DoctorFinding] {
    let environment = ProcessInfo.processInfo.environment
    let onPath = InstalledQEMU.executablesOnPath(environment["PATH"] ?? "")
    let native = onPath.filter { $0.hasSuffix("qemu-system-\(architecture)") }
    let foreign = onPath.filter { !$0.hasSuffix("qemu-system-\(architecture)") }
    let listed = InstalledQEMU.commands(listedIn: environment["GODWIT_QEMU"] ?? "")

    var findings: [DoctorFinding] = []
    for command in native.map({ [$0] }) + listed {
      findings.append(finding(about: await InstalledQEMU.examine(command)))
    }
    if native.isEmpty {
      findings.append(
        DoctorFinding(
          "QEMU", .missing, "no qemu-system-\(architecture) on the PATH",
          advice: "Install it: apt-get install qemu-system-\(package), or name one in GODWIT_QEMU.")
      )
    }
    if !foreign.isEmpty {
      let guests = foreign.compactMap { path in
        path.split(separator: "/").last?.dropFirst("qemu-system-".count)
      }
      let names = guests.joined(separator: ", ")
      findings.append(DoctorFinding("QEMU, other guests", .ok, "also for \(names)"))
    }
    return findings
  }

  static func finding(about qemu: InstalledQEMU) -> DoctorFinding {
    let place = qemu.command[0]
    guard let version = qemu.version else {
      return DoctorFinding(
        "QEMU", .missing, "\(place) does not answer --version as a QEMU does",
        advice: "Run \(place) --version to see why.")
    }
    let fact = "\(qemu.name) \(version) at \(place)"
    guard let problem = qemu.knownProblem else { return DoctorFinding("QEMU", .ok, fact) }
    return DoctorFinding(
      "QEMU", .limited, "\(fact): \(problem)",
      advice: "A newer QEMU has not this limit; 10.0 is known to be sound.")
  }

  #if arch(x86_64)
    private static let architecture = "x86_64"
    private static let package = "x86"
  #else
    private static let architecture = "aarch64"
    private static let package = "arm"
  #endif
}
