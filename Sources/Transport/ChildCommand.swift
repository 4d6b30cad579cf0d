// A shell command whose standard input and output are a channel.

import CLinux
import Glibc
import Synchronization

/// A running shell command, reaped exactly once.
final class ChildCommand: Sendable {
  /// What the shell was given.
  let text: String
  private let process: pid_t
  private let ending = Mutex<CommandExit?>(nil)

  private init(text: String, process: pid_t) {
    self.text = text
    self.process = process
  }

  deinit {
    guard ending.withLock({ $0 }) == nil else { return }
    var status: Int32 = 0
    // SAFETY: the kernel writes to the local.
    guard unsafe waitpid(process, &status, WNOHANG) == 0 else { return }
    // It outlives its channel: a thread stays behind so that it leaves no zombie.
    let process = process
    _ = try? NamedThread(name: "reap \(process)") {
      var status: Int32 = 0
      _ = SystemCall.repeating { unsafe Int(waitpid(process, &status, 0)) }
    }
  }

  /// Waits until the command has ended.
  func exit() throws(TransportError) -> CommandExit {
    let process = process
    // Waited for without reaping and without the lock, so that `terminate` can come in between.
    let waited = SystemCall.repeating {
      var information = unsafe siginfo_t()
      // SAFETY: the kernel writes to the local.
      return unsafe Int(waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT))
    }
    let outcome = ending.withLock { ending -> Result<CommandExit, TransportError> in
      if let ending { return .success(ending) }
      var status: Int32 = 0
      // SAFETY: the kernel writes to the local.
      guard waited >= 0, unsafe waitpid(process, &status, 0) == process else {
        return .failure(.failed(action: "Waiting for '\(text)'", code: Int32(-min(waited, -1))))
      }
      let exit = CommandExit(waitStatus: status)
      ending = exit
      return .success(exit)
    }
    return try outcome.get()
  }

  /// How the command ended, where it closes its input because it ends; nil where it goes on.
  func exitAfterClosing() -> CommandExit? {
    for _ in 0..<50 {
      var information = unsafe siginfo_t()
      // SAFETY: the kernel writes to the local; its number stays 0 as long as the command runs.
      let result = unsafe waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT | WNOHANG)
      let isRunning = unsafe information.si_signo == 0
      if result != 0 || !isRunning { return try? exit() }
      usleep(2000)
    }
    return nil
  }

  /// Asks the shell to end, and what it runs: a shell passes no signal on.
  ///
  /// They are no process group of their own, which could not ask a person for a password.
  ///
  /// Its number stays its own until `exit` has reaped it.
  func terminate() {
    ending.withLock { ending in
      guard ending == nil else { return }
      for number in [process] + Self.descendants(of: process) { _ = kill(number, SIGTERM) }
    }
  }

  /// The processes that a process has started, and theirs.
  private static func descendants(of process: pid_t) -> [pid_t] {
    var found = children(of: process)
    var next = 0
    // A command that starts processes without end is not followed without end.
    while next < found.count, found.count < 4096 {
      found += children(of: found[next])
      next += 1
    }
    return found
  }

  private static func children(of process: pid_t) -> [pid_t] {
    let path = "/proc/\(process)/task/\(process)/children"
    let number = SystemCall.repeating { unsafe Int(open(path, O_RDONLY | O_CLOEXEC)) }
    // Where the kernel does not tell, the shell alone is asked.
    guard number >= 0 else { return [] }
    let file = OwnedDescriptor(adopting: Int32(number))
    var text = [UInt8](repeating: 0, count: 4096)
    // SAFETY: the array has room for as many bytes as are asked for.
    let count = SystemCall.repeating { unsafe read(file.raw, &text, 4096) }
    return String(decoding: text.prefix(max(count, 0)), as: UTF8.self)
      .split(whereSeparator: \.isWhitespace).compactMap { pid_t($0) }
  }

  /// Starts `/bin/sh -c text`.
  /// - Parameters:
  ///   - text: the command.
  ///   - input: becomes its standard input.
  ///   - output: becomes its standard output.
  ///   - errors: becomes its standard error, and then it gets nothing else of this process's; nil
  ///     leaves it everything that this process inherited itself.
  static func start(
    _ text: String, input: Int32, output: Int32, errors: Int32? = nil
  ) throws(TransportError) -> ChildCommand {
    var process: pid_t = 0
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    // SAFETY: both structures are initialised before use and destroyed after; the strings outlive
    // the call; the environment is only read.
    let code = unsafe text.withCString { command -> Int32 in
      unsafe posix_spawn_file_actions_init(&actions)
      defer { unsafe posix_spawn_file_actions_destroy(&actions) }
      unsafe posix_spawnattr_init(&attributes)
      defer { unsafe posix_spawnattr_destroy(&attributes) }
      unsafe posix_spawn_file_actions_adddup2(&actions, input, 0)
      unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
      if let errors {
        unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
        _ = unsafe godwit_close_from(&actions, 3)
      }
      restoreSignals(&attributes)
      var name = Array("sh".utf8CString)
      var option = Array("-c".utf8CString)
      return unsafe name.withUnsafeMutableBufferPointer { name in
        unsafe option.withUnsafeMutableBufferPointer { option in
          let arguments = unsafe [
            name.baseAddress, option.baseAddress, UnsafeMutablePointer(mutating: command), nil,
          ]
          return unsafe posix_spawn(
            &process, "/bin/sh", &actions, &attributes, arguments, godwit_environment())
        }
      }
    }
    guard code == 0 else { throw .failed(action: "Starting the command '\(text)'", code: code) }
    return ChildCommand(text: text, process: process)
  }

  /// The command gets the signal's default back: this process ignores it, commands rely on it.
  ///
  /// It also gets to see all signals: threads of the task pool, and those they start, block them.
  private static func restoreSignals(_ attributes: inout posix_spawnattr_t) {
    var signals = sigset_t()
    // SAFETY: the set is a local, copied into the attributes.
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    unsafe sigaddset(&signals, SIGPIPE)
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
    let flags = Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK)
    unsafe posix_spawnattr_setflags(&attributes, flags)
  }
}
