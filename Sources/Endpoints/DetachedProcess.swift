// Starting a QEMU that outlives Godwit.

import CLinux
import Glibc

/// A process in a session of its own, so that neither Godwit's end nor the terminal's Ctrl-C
/// reaches it.
public struct DetachedProcess: Sendable {
  /// `POSIX_SPAWN_SETSID` of <spawn.h>, which Glibc's module does not show.
  private static let sessionFlag: Int16 = 0x80
  /// `POSIX_SPAWN_SETSIGDEF` and `POSIX_SPAWN_SETSIGMASK`.
  private static let signalFlags: Int16 = 0x04 | 0x08

  /// Its process number.
  public let pid: Int32

  /// Starts `command` (found in PATH) with `arguments`, its input empty and its output appended
  /// to `logPath`, and `descriptors` under the numbers from 3 on.
  ///
  /// The given descriptors' own numbers must lie above those.
  public static func start(
    _ command: String, arguments: [String], logPath: String, handing descriptors: [Int32] = []
  ) throws(MoveError) -> DetachedProcess {
    // The C types are opaque values that the paired init and destroy calls manage.
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
    }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(
      &actions, 1, logPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
    for (index, descriptor) in descriptors.enumerated() {
      unsafe posix_spawn_file_actions_adddup2(&actions, descriptor, 3 + Int32(index))
    }
    // What this process itself inherited, a pipe of its caller's for one, would stay open with it.
    _ = unsafe godwit_close_from(&actions, 3 + Int32(descriptors.count))
    unsafe posix_spawnattr_setflags(&attributes, sessionFlag | signalFlags)
    // The task pool's threads block every signal and the command ignores some; a child would
    // inherit both and could not be ended but by SIGKILL.
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    unsafe sigfillset(&signals)
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)

    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe ([command] + arguments).map {
      unsafe strdup($0)
    }
    unsafe pointers.append(nil)
    defer { unsafe pointers.forEach { unsafe free($0) } }

    var pid: pid_t = 0
    // SAFETY: argv is NULL-terminated and lives until the call returns; the environment is this
    // process's own.
    let failure = unsafe posix_spawnp(
      &pid, command, &actions, &attributes, pointers, godwit_environment())
    guard failure == 0 else {
      throw MoveError(
        .refused,
        "Cannot start '\(command)': \(ErrorText.of(failure)). Is it installed and in PATH?")
    }
    return DetachedProcess(pid: pid)
  }

  /// Whether it has ended; reaps it if so.
  public func hasEnded() -> Bool {
    var status: Int32 = 0
    return unsafe waitpid(pid, &status, WNOHANG) == pid
  }

  /// Ends it at once, without a chance to clean up, and reaps it.
  public func kill() {
    _ = Glibc.kill(pid, SIGKILL)
    var status: Int32 = 0
    _ = unsafe waitpid(pid, &status, 0)
  }
}

/// The C library's words for an error number.
enum ErrorText {
  static func of(_ number: Int32) -> String {
    // SAFETY: Glibc's strerror returns a NUL-terminated string that is this thread's own.
    unsafe String(cString: strerror(number))
  }
}
