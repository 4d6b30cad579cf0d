// The executable as a person runs it: started from the build folder, its output read to the end.

import Foundation
import JSON

/// What a run of `godwit` ended with.
struct CommandOutcome {
  /// The exit code, or minus the number of the signal that ended it.
  let code: Int32
  let output: String
  let errors: String

  /// The lines of output as JSON; throws where one is not.
  func objects() throws -> [JSONValue] {
    try output.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
  }
}

/// The built executable.
enum BuiltCommand {
  /// Beside the test bundle, where the build puts every product.
  static let path: String = {
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    while !FileManager.default.isExecutableFile(
      atPath: folder.appendingPathComponent("godwit").path), folder.path != "/"
    {
      folder.deleteLastPathComponent()
    }
    return folder.appendingPathComponent("godwit").path
  }()

  /// Runs `godwit` with these arguments, against a store that is not the user's own.
  static func run(
    _ arguments: [String], store: String = "/nonexistent/store",
    environment: [String: String] = [:]
  ) throws -> CommandOutcome {
    let folder = try TemporaryFolder()
    let process = try ChildProcess(
      path, arguments, output: "\(folder.path)/output", errors: "\(folder.path)/errors",
      environment: ["GODWIT_STORE": store, "GODWIT_QEMU": ""].merging(environment) { $1 })
    let code = process.waitForExit()
    return CommandOutcome(
      code: code, output: try String(contentsOfFile: "\(folder.path)/output", encoding: .utf8),
      errors: try String(contentsOfFile: "\(folder.path)/errors", encoding: .utf8))
  }
}

/// A child whose output goes to files: no pipe that some other test's child could hold open.
final class ChildProcess {
  struct CannotStart: Error {
    let executable: String
    let code: Int32
  }

  let pid: pid_t
  private var code: Int32?

  init(
    _ executable: String, _ arguments: [String], output: String = "/dev/null",
    errors: String = "/dev/null", environment: [String: String] = [:]
  ) throws {
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT, 0o600)
    // The threads that run tests block signals, and a child would inherit that.
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

    let variables = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let argv = ([executable] + arguments).map { strdup($0) } + [nil]
    let envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var pid: pid_t = 0
    let failure = posix_spawn(&pid, executable, &actions, &attributes, argv, envp)
    guard failure == 0 else { throw CannotStart(executable: executable, code: failure) }
    self.pid = pid
  }

  /// The exit code, or minus the signal's number.
  func waitForExit() -> Int32 {
    if let code { return code }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    let signal = status & 0x7F
    code = signal == 0 ? (status >> 8) & 0xFF : -signal
    return code ?? 0
  }

  deinit {
    if code == nil {
      kill(pid, SIGKILL)
      _ = waitForExit()
    }
  }
}

/// A folder that is removed when its owner is.
final class TemporaryFolder {
  let url = FileManager.default.temporaryDirectory
    .appendingPathComponent("godwit-test-\(UUID().uuidString)")
  var path: String { url.path }

  init() throws {
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }
}
