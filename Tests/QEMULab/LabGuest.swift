// A running guest of the lab: a QEMU process, its monitor and its serial port.

import DemoGuest
import Foundation
import JSON

/// A QEMU that runs the demo guest, or waits for one to come in.
///
/// It dies with this object, and with the process that made it however that ends. Two monitors:
/// ``qmp`` for the test, ``qmpPath`` for the program under test. One thread at a time.
public final class LabGuest {
  /// What it was started with.
  public let configuration: LabConfiguration
  /// A private directory, deleted at the end.
  public let directory: String
  /// The monitor of the test.
  public private(set) var qmp: LabQMP
  /// QEMU's process.
  public let pid: Int32

  private let keeper: Process
  private let leash: Pipe

  /// The socket of a second monitor, that nobody is connected to yet.
  public var qmpPath: String { directory + "/qmp" }
  /// Where the serial port's output goes.
  public let serialPath: String

  /// Starts a QEMU and greets its monitor.
  ///
  /// - Parameters:
  ///   - isIncoming: whether it waits for a machine (`-incoming defer`) rather than boots.
  ///   - isPaused: whether its guest waits for `cont` (`-S`).
  public init(
    _ configuration: LabConfiguration, isIncoming: Bool = false, isPaused: Bool = false
  ) throws {
    self.configuration = configuration
    guard let architecture = configuration.architecture else {
      throw LabError("the lab has no guest for \(configuration.qemu)")
    }
    directory = try Self.makeDirectory()
    serialPath = directory + "/serial"
    let image = directory + "/guest.elf"
    try architecture.write(to: image)
    var words = configuration.commandLine(image: image, serial: serialPath)
    words += ["-qmp", "unix:\(directory)/qmp,server=on,wait=off"]
    words += ["-qmp", "unix:\(directory)/lab,server=on,wait=off"]
    if isIncoming { words += ["-incoming", "defer"] }
    if isPaused { words += ["-S"] }
    (keeper, leash) = try Self.launch(script: Self.keeping, words, in: directory)
    let log = directory + "/log"
    do {
      pid = try Self.waitForPid(directory + "/pid")
      qmp = try LabQMP(path: directory + "/lab")
    } catch {
      let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
      // A throwing init has no deinit to clean up for it.
      leash.fileHandleForWriting.closeFile()
      keeper.waitUntilExit()
      try? FileManager.default.removeItem(atPath: directory)
      throw LabError("\(words.joined(separator: " ")) did not start: \(error) \(said)")
    }
  }

  /// Takes over a QEMU that somebody else started, to watch it and to end it.
  ///
  /// - Parameters:
  ///   - pid: its process.
  ///   - qmp: its monitor's socket, which nobody must be connected to.
  ///   - serialPath: where its serial port's output goes.
  public init(
    adopting pid: Int32, qmp: String, serialPath: String, configuration: LabConfiguration
  ) throws {
    self.configuration = configuration
    self.pid = pid
    self.serialPath = serialPath
    directory = try Self.makeDirectory()
    (keeper, leash) = try Self.launch(script: "read -r _; kill -9 $1", ["\(pid)"], in: directory)
    self.qmp = try LabQMP(path: qmp)
  }

  deinit { kill() }

  /// Kills QEMU and deletes its files.
  public func kill() {
    leash.fileHandleForWriting.closeFile()
    keeper.waitUntilExit()
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Whether QEMU's process is alive.
  public var isRunning: Bool {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else {
      return false
    }
    return !stat.contains(") Z ")
  }

  /// What QEMU itself has printed.
  public var log: String {
    (try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? ""
  }

  /// QEMU's resident memory that is its own alone, in bytes (anonymous and written pages).
  public var privateBytes: Int {
    let rollup = try? String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8)
    let kilobytes = (rollup ?? "").split(separator: "\n").filter { $0.hasPrefix("Private_") }
      .compactMap { $0.split(separator: " ").dropFirst().first.flatMap { Int($0) } }
    return kilobytes.reduce(0, +) * 1024
  }

  private static func makeDirectory() throws -> String {
    // Short, because a Unix socket's path may have 107 bytes only.
    var template = Array("/tmp/gwlab-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw LabError("cannot make \(template): \(errno)") }
    return template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  /// Runs the command it is given, until its own input ends.
  private static let keeping = """
    "$@" >"$LAB/log" 2>&1 </dev/null & qemu=$!
    echo $qemu >"$LAB/pid.new"; mv "$LAB/pid.new" "$LAB/pid"
    read -r _; kill -9 $qemu; wait $qemu
    """

  /// Starts a shell that kills a QEMU when its own input ends.
  ///
  /// So a guest never outlives the test run, even one that is killed.
  private static func launch(
    script: String, _ words: [String], in directory: String
  ) throws -> (Process, Pipe) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script, "lab"] + words
    process.environment = ProcessInfo.processInfo.environment.merging(["LAB": directory]) { $1 }
    let leash = Pipe()
    process.standardInput = leash
    // QEMU's end must not keep the pipe open that is to tell of our death.
    _ = fcntl(leash.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    process.standardError = FileHandle.nullDevice
    try process.run()
    return (process, leash)
  }

  private static func waitForPid(_ path: String) throws -> Int32 {
    for _ in 0..<2000 {
      if let text = try? String(contentsOfFile: path, encoding: .utf8),
        let pid = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
      {
        return pid
      }
      usleep(5000)
    }
    throw LabError("the shell that starts QEMU did not")
  }
}
