// Threads of our own for blocking work, so that none of it sits on the task pool.

import CLinux
import Glibc
import Synchronization

/// A thread with a name that debuggers show, to be joined once.
public final class NamedThread: Sendable {
  private let thread: pthread_t
  private let isJoined = Atomic<Bool>(false)

  /// Starts a thread.
  /// - Parameters:
  ///   - name: what debuggers and `top -H` show; the kernel keeps the first 15 bytes.
  ///   - stackByteCount: size of its stack in bytes.
  ///   - body: what it does; the thread ends when it returns.
  public init(
    name: String, stackByteCount: Int = 1 << 20, _ body: @escaping @Sendable () -> Void
  ) throws(TransportError) {
    let start = ThreadStart(name: name, body: body)
    var attributes = pthread_attr_t()
    var thread = pthread_t()
    // SAFETY: the attributes are initialised before use and destroyed after; the box is retained
    // for the thread, which releases it, or released here when there is no thread.
    let code = unsafe withUnsafeMutablePointer(to: &attributes) { attributes -> Int32 in
      unsafe pthread_attr_init(attributes)
      defer { unsafe pthread_attr_destroy(attributes) }
      unsafe pthread_attr_setstacksize(attributes, max(stackByteCount, 64 << 10))
      let box = unsafe Unmanaged.passRetained(start)
      let code = unsafe pthread_create(
        &thread, attributes, ThreadStart.entry, box.toOpaque())
      if code != 0 { unsafe box.release() }
      return code
    }
    guard code == 0 else { throw .failed(action: "Starting the thread '\(name)'", code: code) }
    self.thread = thread
  }

  deinit {
    if !isJoined.load(ordering: .acquiring) { pthread_detach(thread) }
  }

  /// Waits until the thread has ended.
  ///
  /// Only the first call waits.
  public func join() {
    guard !isJoined.exchange(true, ordering: .acquiringAndReleasing) else { return }
    _ = pthread_join(thread, nil)
  }
}

/// What a new thread needs to know.
private final class ThreadStart: Sendable {
  private let name: String
  private let body: @Sendable () -> Void

  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }

  // A static constant of a nonisolated type: an entry written where it is used could inherit an
  // actor's isolation, and then traps on the new thread.
  static let entry: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = {
    argument in
    guard let argument = unsafe argument else { return nil }
    // SAFETY: the creator passed a retained ThreadStart, released by taking it.
    let start = unsafe Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
    _ = unsafe godwit_set_thread_name(String(start.name.utf8.prefix(15)) ?? "godwit")
    start.body()
    return nil
  }
}
