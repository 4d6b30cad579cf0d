// The pager as a process, started and ended by its machine.

internal import CLinux
internal import Glibc
internal import Synchronization
internal import Transport

/// A pager's process: it ends at the latest with this object.
final class PagerProcess: Sendable {
  /// The machine's end of the control link.
  let control: PagerControl
  /// When it was started.
  let began = ContinuousClock.now
  private let pid: pid_t
  private let isReaped = Mutex(false)

  /// `POSIX_SPAWN_SETSID` of <spawn.h>, which Glibc's module does not show.
  private static let sessionFlag: Int16 = 0x80

  /// Starts one.
  ///
  /// - Parameter command: what to run; it must call ``PagerServer/serve(_:)``.
  init(_ command: [String]) throws(PagerError) {
    let line = command.joined(separator: " ")
    do throws(TransportError) {
      var ends = try SocketPair()
      control = try PagerControl(try ends.take().duplicate(), peer: "the pager")
      let other = try ends.take().duplicate()
      let (pid, code) = Self.spawn(command, handing: other.raw)
      guard code == 0 else {
        throw TransportError.failed(action: "Starting '\(line)'", code: code)
      }
      self.pid = pid
    } catch {
      throw .notStarted(command: line, reason: "\(error)")
    }
  }

  deinit { end() }

  /// The process's number.
  var number: Int32 { pid }

  /// Ends it at once and reaps it.
  func end() {
    control.close()
    isReaped.withLock { isReaped in
      guard !isReaped else { return }
      isReaped = true
      _ = kill(pid, SIGKILL)
      var status: Int32 = 0
      // SAFETY: the kernel writes to the local.
      while unsafe waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }
  }

  /// Runs a command with a descriptor under the number at which pagers look for it, in a session of
  /// its own: Ctrl-C is the machine's to understand.
  private static func spawn(
    _ command: [String], handing descriptor: Int32
  ) -> (pid: pid_t, code: Int32) {
    // SAFETY: the C types are opaque values that the paired init and destroy calls manage; argv is
    // NULL-terminated and lives until the call returns; the environment is this process's own.
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
    }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(
      &actions, descriptor, PagerServer.controlDescriptor)
    _ = unsafe godwit_close_from(&actions, PagerServer.controlDescriptor + 1)
    let signalFlags = Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK)
    unsafe posix_spawnattr_setflags(&attributes, sessionFlag | signalFlags)
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    unsafe posix_spawnattr_setsigmask(&attributes, &signals)
    unsafe sigfillset(&signals)
    unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
    var words: [UnsafeMutablePointer<CChar>?] = unsafe command.map { unsafe strdup($0) }
    unsafe words.append(nil)
    defer { unsafe words.forEach { unsafe free($0) } }
    var pid: pid_t = 0
    let code = unsafe posix_spawnp(
      &pid, command.first ?? "", &actions, &attributes, words, godwit_environment())
    return (pid, code)
  }
}
