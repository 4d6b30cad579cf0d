// What the process does on signals: an orderly end at the first, the system's way at the second.

import Dispatch
import Glibc
import Synchronization

/// The signals that ask a command to stop.
enum Interruption {
  // A source that nothing keeps no longer delivers.
  private static let sources = Mutex<[any DispatchSourceSignal]>([])

  /// Calls `action` once, at the first SIGINT or SIGTERM.
  ///
  /// Another one ends the process at once.
  static func onRequest(_ action: @escaping @Sendable () -> Void) {
    sources.withLock { sources in
      for number in [SIGINT, SIGTERM] {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler {
          signal(SIGINT, SIG_DFL)
          signal(SIGTERM, SIG_DFL)
          action()
        }
        source.activate()
        sources.append(source)
      }
    }
  }

  /// Makes writing to a closed pipe an error of the write instead of the process's end.
  static func ignoreClosedPipes() {
    signal(SIGPIPE, SIG_IGN)
  }
}
