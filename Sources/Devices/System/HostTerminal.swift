// The terminal on standard input: handed to the guest, and put back.

import CLinux
import Glibc
import Synchronization

/// The terminal that this process was started from, while a guest has it.
enum HostTerminal {
  private static let before = Mutex<termios?>(nil)

  /// Has the terminal hand over each key as it is typed, the interrupt key included, unechoed.
  ///
  /// Nothing is done where standard input is no terminal, or not this process's to change. What was
  /// changed is put back when the process exits, if not before.
  static func enterCharacterMode() {
    guard isatty(STDIN_FILENO) == 1, tcgetpgrp(STDIN_FILENO) == getpgrp() else { return }
    var mode = termios()
    // SAFETY: the calls fill and read the local.
    guard unsafe tcgetattr(STDIN_FILENO, &mode) == 0 else { return }
    let isFirst = before.withLock { before in
      defer { before = before ?? mode }
      return before == nil
    }
    if isFirst { atexit { HostTerminal.restore() } }
    mode.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
    mode.c_iflag &= ~tcflag_t(ICRNL | IXON)
    _ = unsafe tcsetattr(STDIN_FILENO, TCSANOW, &mode)
  }

  /// Puts the terminal back as it was.
  static func restore() {
    before.withLock { before in
      guard var mode = before.take() else { return }
      // SAFETY: the call reads the local.
      _ = unsafe tcsetattr(STDIN_FILENO, TCSANOW, &mode)
    }
  }
}
