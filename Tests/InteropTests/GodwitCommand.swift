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
  ///
  /// - Parameter environment: what replaces this process's own variables.
  @discardableResult
  func run(
    _ arguments: [String], environment: [String: String] = [:], seconds: Double = 600
  ) throws -> JSONValue {
    let running = try start(arguments, environment: environment)
    let status = try running.wait(seconds: seconds)
    guard status == 0, let result = running.events.last(where: { $0["event"] == "result" }) else {
      let words = arguments.joined(separator: " ")
      throw LabError("godwit \(words) ended with \(status): \(running.output) \(running.errors)")
    }
    return result
  }

  /// Runs a command that must fail in the way a person can understand, and returns what it said.
  func refuse(_ arguments: [String], environment: [String: String] = [:]) throws -> String {
    let running = try start(arguments, environment: environment)
    let status = try running.wait(seconds: 60)
    guard status == 1 else {
      throw LabError("godwit \(arguments) ended with \(status), not 1: \(running.output)")
    }
    return running.output + running.errors
  }

  /// Starts a command and lets it run.
  ///
  /// - Parameter isJob: whether it is in a group of its own, as a shell starts it.
  func start(
    _ arguments: [String], environment: [String: String] = [:], isJob: Bool = false
  ) throws -> RunningGodwit {
    try RunningGodwit(
      arguments: arguments + ["--json"], store: store, environment: environment, isJob: isJob)
  }

  /// The names that are listed.
  func names() throws -> [String] {
    let checkpoints = try run(["list"])["checkpoints"]?.array ?? []
    return checkpoints.compactMap { $0["name"]?.string }
  }
}

/// A `godwit` that runs.
///
/// Started by hand: Foundation's `Process` takes a child for running for as long as a grandchild
/// has the descriptor it watches, and the QEMUs that godwit starts live on.
final class RunningGodwit {
  let pid: pid_t
  private let folder: String
  private var status: Int32?

  private let isJob: Bool

  init(
    arguments: [String], store: String, environment changes: [String: String] = [:],
    isJob: Bool = false
  ) throws {
    self.isJob = isJob
    folder = NSTemporaryDirectory() + "gwrun-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    // Behind `--` everything is QEMU's.
    var words = arguments
    if let end = words.firstIndex(of: "--") {
      words.removeLast()
      words.insert("--json", at: end)
    }
    var environment = ProcessInfo.processInfo.environment
    environment["GODWIT_STORE"] = store
    environment.merge(changes) { $1 }
    pid = try Self.spawn([try Self.executable()] + words, environment, folder, isJob)
  }

  deinit {
    kill()
    try? FileManager.default.removeItem(atPath: folder)
  }

  var isRunning: Bool {
    reap(WNOHANG)
    return status == nil
  }

  var output: String { (try? String(contentsOfFile: folder + "/output", encoding: .utf8)) ?? "" }
  var errors: String { (try? String(contentsOfFile: folder + "/errors", encoding: .utf8)) ?? "" }

  /// What it has reported so far.
  var events: [JSONValue] {
    output.split(separator: "\n").compactMap { try? JSONValue(parsing: String($0)) }
  }

  /// Waits for its end and returns its exit code, or minus the signal that ended it.
  func wait(seconds: Double) throws -> Int32 {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while isRunning {
      guard Date() < deadline else {
        kill()
        throw LabError("godwit did not end within \(seconds) s: \(output) \(errors)")
      }
      usleep(5000)
    }
    let status = status ?? 0
    let signal = status & 0x7f
    return signal == 0 ? status >> 8 & 0xff : -signal
  }

  /// SIGKILL: no chance to clean up.
  func kill() {
    guard isRunning else { return }
    Foundation.kill(pid, SIGKILL)
    reap(0)
  }

  /// SIGINT, as Ctrl-C sends it: to a job, that is to all that it has started and not set apart.
  func interrupt() { Foundation.kill(isJob ? -pid : pid, SIGINT) }

  private func reap(_ options: Int32) {
    guard status == nil else { return }
    var found: Int32 = 0
    if waitpid(pid, &found, options) == pid { status = found }
  }

  /// Starts a command with its output and errors in files of `folder`.
  private static func spawn(
    _ words: [String], _ environment: [String: String], _ folder: String, _ isJob: Bool
  ) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let create = O_WRONLY | O_CREAT | O_APPEND
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    if isJob { posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP)) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, folder + "/output", create, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, folder + "/errors", create, 0o600)
    var arguments = words.map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in arguments + variables { free(pointer) } }
    var pid: pid_t = 0
    let failure = posix_spawn(&pid, words[0], &actions, &attributes, &arguments, &variables)
    guard failure == 0 else {
      throw LabError("cannot start \(words[0]): error \(failure)")
    }
    return pid
  }

  /// The executable beside the test bundle, where the build puts every product.
  private static func executable() throws -> String {
    if let named = ProcessInfo.processInfo.environment[Godwit.environmentName] { return named }
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    while folder.path != "/" {
      let candidate = folder.appendingPathComponent("godwit").path
      if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
      folder.deleteLastPathComponent()
    }
    throw LabError("there is no godwit beside the tests; set \(Godwit.environmentName)")
  }
}
