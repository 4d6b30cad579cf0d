// The executable under test, run as a person runs it, with a store of the test's own.

import Foundation
import JSON
import QEMULab

/// A store in a temporary folder, and `godwit` commands that use it.
final class Godwit {
  /// Names the executable where it is not the one built with the tests (a release build, say).
  static let environmentName = "GODWIT_EXECUTABLE"

  let store: String

  init() throws {
    store = NSTemporaryDirectory() + "gwstore-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: store, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: store) }

  /// Runs a command to its end and returns the last object it reports; a failure is thrown with
  /// what the command said.
  @discardableResult
  func run(_ arguments: [String], seconds: Double = 120) throws -> JSONValue {
    let running = try start(arguments)
    let status = try running.wait(seconds: seconds)
    guard status == 0, let result = running.events.last(where: { $0["event"] == "result" }) else {
      let words = arguments.joined(separator: " ")
      throw LabError("godwit \(words) ended with \(status): \(running.output) \(running.errors)")
    }
    return result
  }

  /// Runs a command that must fail in the way a person can understand, and returns what it said.
  func refuse(_ arguments: [String]) throws -> String {
    let running = try start(arguments)
    let status = try running.wait(seconds: 60)
    guard status == 1 else {
      throw LabError("godwit \(arguments) ended with \(status), not 1: \(running.output)")
    }
    return running.output + running.errors
  }

  /// Starts a command and lets it run.
  func start(_ arguments: [String]) throws -> RunningGodwit {
    try RunningGodwit(arguments: arguments + ["--json"], store: store)
  }

  /// The names that are listed.
  func names() throws -> [String] {
    let checkpoints = try run(["list"])["checkpoints"]?.array ?? []
    return checkpoints.compactMap { $0["name"]?.string }
  }
}

/// A `godwit` that runs.
final class RunningGodwit {
  private let process = Process()
  private let folder: String

  init(arguments: [String], store: String) throws {
    folder = NSTemporaryDirectory() + "gwrun-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    process.executableURL = try Self.executable()
    // Behind `--` everything is QEMU's.
    var words = arguments
    if let end = words.firstIndex(of: "--") {
      words.removeLast()
      words.insert("--json", at: end)
    }
    process.arguments = words
    process.environment = ProcessInfo.processInfo.environment
      .merging(["GODWIT_STORE": store]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try Self.file(folder + "/output")
    process.standardError = try Self.file(folder + "/errors")
    try process.run()
  }

  deinit {
    if process.isRunning { kill() }
    try? FileManager.default.removeItem(atPath: folder)
  }

  var isRunning: Bool { process.isRunning }
  var output: String { (try? String(contentsOfFile: folder + "/output", encoding: .utf8)) ?? "" }
  var errors: String { (try? String(contentsOfFile: folder + "/errors", encoding: .utf8)) ?? "" }

  /// What it has reported so far.
  var events: [JSONValue] {
    output.split(separator: "\n").compactMap { try? JSONValue(parsing: String($0)) }
  }

  /// Waits for its end and returns its exit code, or minus the signal that ended it.
  func wait(seconds: Double) throws -> Int32 {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while process.isRunning {
      guard Date() < deadline else {
        kill()
        throw LabError("godwit did not end within \(seconds) s: \(output) \(errors)")
      }
      usleep(5000)
    }
    process.waitUntilExit()
    return process.terminationReason == .exit
      ? process.terminationStatus : -process.terminationStatus
  }

  /// SIGKILL: no chance to clean up.
  func kill() {
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  private static func file(_ path: String) throws -> FileHandle {
    _ = FileManager.default.createFile(atPath: path, contents: nil)
    guard let handle = FileHandle(forWritingAtPath: path) else {
      throw LabError("cannot write \(path)")
    }
    return handle
  }

  /// The executable beside the test bundle, where the build puts every product.
  private static func executable() throws -> URL {
    if let named = ProcessInfo.processInfo.environment[Godwit.environmentName] {
      return URL(fileURLWithPath: named)
    }
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    while folder.path != "/" {
      let candidate = folder.appendingPathComponent("godwit")
      if FileManager.default.isExecutableFile(atPath: candidate.path) { return candidate }
      folder.deleteLastPathComponent()
    }
    throw LabError("there is no godwit beside the tests; set \(Godwit.environmentName)")
  }
}
