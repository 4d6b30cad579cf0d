// The QEMUs that tests can use: those on PATH and those the environment names.

import DemoGuest
import Foundation

/// An installed QEMU.
public struct QEMU: Sendable, Equatable, CustomStringConvertible {
  /// A version, as `--version` tells it.
  public struct Version: Sendable, Comparable, CustomStringConvertible {
    /// The 10 of 10.0.
    public var major: Int
    /// The 0 of 10.0.
    public var minor: Int

    /// A version by its two numbers.
    public init(_ major: Int, _ minor: Int) {
      self.major = major
      self.minor = minor
    }

    /// Older before newer.
    public static func < (a: Self, b: Self) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
    /// Both numbers, as QEMU's machine types spell them.
    public var description: String { "\(major).\(minor)" }
  }

  /// The program, its absolute path, and the arguments that it always needs (`-L DIRECTORY`).
  public var command: [String]
  /// Its version.
  public var version: Version
  /// What it emulates, by the name in its program (`x86_64`).
  public var architecture: String

  /// Version and architecture, as a test's name shows them.
  public var description: String { "QEMU \(version) \(architecture)" }

  /// The environment variable that lists more QEMUs: commands separated by `;` or line feeds,
  /// their words by spaces.
  public static let environmentName = "GODWIT_QEMU"

  /// Every QEMU found, oldest first, for the architectures that there is a guest for.
  public static let all: [QEMU] = find()

  /// Those for one architecture, oldest first.
  public static func all(_ architecture: DemoGuest.Architecture) -> [QEMU] {
    all.filter { $0.architecture == architecture.rawValue }
  }

  /// The newest one for an architecture, if there is any.
  public static func newest(_ architecture: DemoGuest.Architecture = .x86_64) -> QEMU? {
    all(architecture).last
  }

  private static func find() -> [QEMU] {
    let environment = ProcessInfo.processInfo.environment
    let listed = (environment[environmentName] ?? "")
      .split(whereSeparator: { $0 == ";" || $0.isNewline })
      .map { $0.split(separator: " ").map(String.init) }
    let folders = (environment["PATH"] ?? "/usr/bin").split(separator: ":")
    let installed = DemoGuest.Architecture.allCases.compactMap { architecture in
      folders.map { "\($0)/qemu-system-\(architecture.rawValue)" }
        .first { FileManager.default.isExecutableFile(atPath: $0) }
    }
    let commands = installed.map { [$0] } + listed.filter { !$0.isEmpty }
    let found = commands.compactMap { QEMU(command: $0) }
    // The same version for the same architecture teaches nothing new.
    return found.reduce(into: [QEMU]()) { kept, qemu in
      let isKnown = kept.contains {
        $0.version == qemu.version && $0.architecture == qemu.architecture
      }
      if !isKnown { kept.append(qemu) }
    }.sorted { $0.version < $1.version }
  }

  /// Asks a command for its version; nil where it is no QEMU.
  public init?(command: [String]) {
    guard let program = command.first.flatMap(Self.absolute),
      let name = program.split(separator: "/").last, name.hasPrefix("qemu-system-")
    else { return nil }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = ["--version"]
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard let match = output.firstMatch(of: /version (\d+)\.(\d+)/),
      let major = Int(match.1), let minor = Int(match.2)
    else { return nil }
    self.command = [program] + command.dropFirst()
    self.version = Version(major, minor)
    self.architecture = String(name.dropFirst("qemu-system-".count))
  }

  private static func absolute(_ program: String) -> String? {
    if program.contains("/") { return program }
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.map { "\($0)/\(program)" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }
}

/// A way from one QEMU to another.
public struct Direction: Sendable, CustomStringConvertible {
  /// The QEMU that has the machine.
  public var source: QEMU
  /// The QEMU that gets it.
  public var destination: QEMU

  /// A way from one to the other; they may be the same.
  public init(from source: QEMU, to destination: QEMU) {
    self.source = source
    self.destination = destination
  }

  /// Both versions, as a test's name shows them.
  public var description: String { "\(source.version) to \(destination.version)" }

  /// The older of the two versions: what it has, both have, and its machine types both know.
  public var oldest: QEMU.Version { min(source.version, destination.version) }

  /// A machine type that both ends know and take for the same machine: the older one's version
  /// of it, where a type has versions. (`microvm` and `malta` have none.)
  public func machine(_ name: String) -> String {
    switch name {
    case "pc": "pc-i440fx-\(oldest)"
    case "q35": "pc-q35-\(oldest)"
    case "virt": "virt-\(oldest)"
    default: name
    }
  }

  /// All ways between the QEMUs of an architecture, each to itself included.
  public static func all(_ architecture: DemoGuest.Architecture = .x86_64) -> [Direction] {
    let qemus = QEMU.all(architecture)
    return qemus.flatMap { source in qemus.map { Direction(from: source, to: $0) } }
  }
}
