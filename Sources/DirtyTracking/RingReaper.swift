// The thread that empties the dirty rings before they are full.

import CLinux
import Glibc
import GuestMemory
import Transport

/// A thread that does something again and again until it is ended.
final class RingReaper: Sendable {
  /// Time between two visits: a small part of what fills a ring of the usual size.
  static let intervalMilliseconds: Int32 = 20

  private let wake: OwnedDescriptor
  private let thread: NamedThread

  /// Starts the thread.
  /// - Parameters:
  ///   - source: whose it is, for errors.
  ///   - body: what it does each time.
  init(source: String, _ body: @escaping @Sendable () -> Void) throws(GuestMemoryError) {
    let number = godwit_eventfd()
    guard number >= 0 else {
      throw .hostRefused(action: "Making an event descriptor for the dirty log", code: -number)
    }
    wake = OwnedDescriptor(adopting: number)
    do throws(TransportError) {
      thread = try NamedThread(name: "dirty reaper") {
        while !Self.isEnded(number) { body() }
      }
    } catch {
      throw .dirtyLogFailed(
        source: source, action: "Starting the thread that empties the rings", reason: "\(error)")
    }
  }

  /// Ends the thread and waits until it has ended.
  func end() {
    var one: UInt64 = 1
    // SAFETY: eight bytes of a local are read.
    _ = unsafe Glibc.write(wake.raw, &one, 8)
    thread.join()
  }

  /// Waits for one interval.
  private static func isEnded(_ descriptor: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    // SAFETY: one entry is passed.
    return unsafe poll(&entry, 1, intervalMilliseconds) > 0
  }
}
