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

  /// Asks the shell to end.
  ///
  /// Its number stays its own until `exit` has reaped it.
  func terminate() {
    ending.withLock { ending in
      if ending == nil { _ = kill(process, SIGTERM) }
    }
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
