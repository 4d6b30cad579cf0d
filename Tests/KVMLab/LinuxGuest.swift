// A Linux that boots in a machine: the process, its monitor, its serial port.

import Foundation
import JSON
import QEMULab

/// A machine with a Linux in it.
///
/// Its process dies with this object, and with the one that made it. One thread at a time.
final class LinuxGuest {
  /// What a machine is to be, beside its kernel.
  struct Setup {
    /// Its memory in MiB.
    var megabytes = 256
    /// How many processors it has.
    var processors = 1
    /// The source of dirty pages; nil leaves it to the program.
    var dirtyLog: String?
    /// A raw disk.
    var disk: String?
    /// A tap device.
    var tap: String?
    /// Whether the program ends where the guest wants a reset.
    var endsOnReset = false
  }

  /// A private folder, for sockets and whatever a check wants there.
  let directory: String
  /// The monitor.
  let qmp: LabQMP
  /// The process.
  let pid: Int32
  /// Its tap device.
  let tap: String?

  private let keeper: Process
  private let leash: Pipe
  private let serial: SerialLine
  private var lastCommand = 0

  /// Starts a machine; returns before its guest has done much.
  ///
  /// - Parameters:
  ///   - program: what runs it.
  ///   - kernel: the image that it boots.
  ///   - ramDisk: the initial RAM disk.
  ///   - isWaiting: whether it waits for a guest from another one instead.
  ///   - setup: what it is made of; where a guest comes in, like the other one but for its tap
  ///     device.
  init(
    _ program: GuestProgram, kernel: String, ramDisk: String, isWaiting: Bool = false,
    _ setup: Setup
  ) throws {
    // Short, because a Unix socket's path may have 107 bytes only.
    var template = Array("/tmp/gwkvm-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw LabError("cannot make a folder in /tmp") }
    let directory = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    self.directory = directory
    tap = setup.tap
    let words = program.words(
      for: setup, kernel: kernel, ramDisk: ramDisk, isWaiting: isWaiting, in: directory)
    (keeper, leash) = try Self.launch(words, log: directory + "/log")
    do {
      // A debug build reads a kernel slowly where processors are emulated.
      let deadline = Date(timeIntervalSinceNow: 60)
      while keeper.isRunning, !FileManager.default.fileExists(atPath: directory + "/qmp"),
        Date() < deadline
      {
        usleep(20_000)
      }
      qmp = try LabQMP(path: directory + "/qmp", seconds: keeper.isRunning ? 5 : 0)
      serial = try SerialLine(path: directory + "/serial")
      pid = try Self.processNumber(directory + "/pid")
    } catch {
      // A throwing init has no deinit to clean up for it.
      leash.fileHandleForWriting.closeFile()
      keeper.waitUntilExit()
      let said = (try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? ""
      try? FileManager.default.removeItem(atPath: directory)
      throw LabError("'\(words.joined(separator: " "))' did not start: \(error) \(said)")
    }
    // Only now, so that nothing the kernel says is lost.
    if !isWaiting { try qmp.execute("cont") }
  }

  deinit {
    leash.fileHandleForWriting.closeFile()
    keeper.waitUntilExit()
    try? FileManager.default.removeItem(atPath: directory)
  }

  /// Waits for the shell and makes it quiet.
  func waitForShell(seconds: Double) throws {
    do {
      try attend { try serial.wait(for: InitialRAMDisk.readyLine, seconds: seconds) }
      try run("stty -echo; PS1=", seconds: seconds)
    } catch let failure as EmulatorFailure {
      throw failure
    } catch {
      let status = (try? qmp.execute("query-status"))?["status"]?.string ?? "gone"
      throw LabError("\(error); the machine is \(status) \(log)")
    }
  }

  /// Runs a command in the guest's shell and returns what it prints.
  ///
  /// - Throws: where it fails, with what it printed.
  @discardableResult
  func run(_ command: String, seconds: Double = 60) throws -> String {
    lastCommand += 1
    let start = "BEGIN-\(lastCommand)", end = "END-\(lastCommand)"
    // The shell echoes what it reads, so that must not look like what it prints.
    serial.send("echo ''BEGIN''-\(lastCommand); \(command); echo ''END''-\(lastCommand) $?\n")
    let (output, status) = try attend {
      try serial.wait(for: start + "\n", seconds: seconds)
      let output = try serial.wait(for: end + " ", seconds: seconds)
      return (output, try serial.wait(for: "\n", seconds: seconds))
    }
    let text = output.trimmingCharacters(in: .whitespacesAndNewlines)
    guard status == "0" else {
      throw LabError("the guest's '\(command)' ended with \(status): \(text)")
    }
    return text
  }

  /// Waits for the guest to say something; where it does not, tells an emulated processor's fault
  /// from one of the machine's.
  @discardableResult
  private func attend<Answer>(_ wait: () throws -> Answer) throws -> Answer {
    let events = qmp.events.count
    do {
      return try wait()
    } catch {
      // Events are read with answers.
      _ = try? qmp.execute("query-name")
      let resets = qmp.events.dropFirst(events).count { $0["event"] == "RESET" }
      guard resets == 0 else { throw LabError("the guest was reset meanwhile: \(error)") }
      guard (try? qmp.execute("query-status"))?["status"] == "running",
        let place = try? StaleInstruction(qmp: qmp, directory: directory).address()
      else {
        throw LabError("\(ProcessorPlaces(qmp: qmp).description()): \(error)")
      }
      throw EmulatorFailure(
        description: """
          the emulated processor takes a breakpoint at 0x\(String(place, radix: 16)) over and \
          over, where the memory has none: \(error)
          """)
    }
  }

  /// Types a line and waits for nothing.
  func type(_ line: String) { serial.send(line + "\n") }

  /// Runs a command whose output is a number.
  func number(_ command: String) throws -> Int {
    let text = try run(command)
    guard let number = Int(text) else {
      throw LabError("the guest's '\(command)' said '\(text)', which is no number")
    }
    return number
  }

  /// The guest's memory in all and free, in KiB, as Linux counts it.
  func memory() throws -> (total: Int, free: Int) {
    let total = try number("awk '/^MemTotal/ {print $2}' /proc/meminfo")
    return (total, try number("awk '/^MemFree/ {print $2}' /proc/meminfo"))
  }

  /// How much of the machine's memory the host holds, in KiB.
  func residentKilobytes() throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    guard let number = line?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
      throw LabError("/proc/\(pid)/status has no VmRSS")
    }
    return number
  }

  /// Waits until something holds, looking every now and then.
  func wait(for what: String, seconds: Double = 30, until isMet: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !isMet() {
      guard Date() < deadline else { throw LabError("no \(what) within \(Int(seconds)) s") }
      usleep(20_000)
    }
  }

  /// Waits for an event that comes after this call began, or after the number of events given.
  func wait(forEvent name: String, after count: Int, seconds: Double = 30) throws {
    try wait(for: "event \(name)", seconds: seconds) {
      try qmp.execute("query-name")
      return qmp.events.dropFirst(count).contains { $0["event"]?.string == name }
    }
  }

  /// Waits for the process to end by itself, and returns its exit code.
  func waitForEnd(seconds: Double) throws -> Int32 {
    try wait(for: "end of the process", seconds: seconds) { !keeper.isRunning }
    return keeper.terminationStatus
  }

  /// What the program itself has printed.
  var log: String {
    (try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? ""
  }

  /// Starts a shell that runs the words, passes their exit code on, and kills them when its own
  /// input ends: so nothing outlives the checks, even if they are killed.
  private static func launch(_ words: [String], log: String) throws -> (Process, Pipe) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", keeping, "lab"] + words
    process.environment = ProcessInfo.processInfo.environment.merging(["LOG": log]) { $1 }
    let leash = Pipe()
    process.standardInput = leash
    // The machine's end must not keep the pipe open that is to tell of our death.
    _ = fcntl(leash.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
    process.standardError = FileHandle.nullDevice
    try process.run()
    return (process, leash)
  }

  private static let keeping = """
    exec 3<&0
    "$@" >"$LOG" 2>&1 </dev/null 3<&- & machine=$!
    echo $machine >"${LOG%/*}/pid.new"; mv "${LOG%/*}/pid.new" "${LOG%/*}/pid"
    { read -r _ <&3; kill -9 $machine; } & reader=$!
    wait $machine; status=$?
    kill $reader 2>/dev/null
    exit $status
    """

  private static func processNumber(_ path: String) throws -> Int32 {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    guard let number = Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw LabError("\(path) holds no process number")
    }
    return number
  }
}
