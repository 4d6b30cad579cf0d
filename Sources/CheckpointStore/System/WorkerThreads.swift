// Threads of our own for hashing and writing: they block, so they stay off the task pool.

import Glibc

/// A lock with a condition, for the hand-over of batches between threads.
@safe
final class Gate: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  init() {
    // SAFETY: both were just allocated and are initialised once.
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
  }

  deinit {
    // SAFETY: nobody holds a reference any more, so nobody waits.
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Runs `body` with the lock held.
  func locked<R>(_ body: () -> R) -> R {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body()
  }

  /// Runs `body` with the lock held until it has a result, waiting for `signal` in between.
  func wait<R>(_ body: () -> R?) -> R {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while true {
      if let result = body() { return result }
      unsafe pthread_cond_wait(condition, mutex)
    }
  }

  /// Wakes everyone who waits.
  func signal() { unsafe pthread_cond_broadcast(condition) }
}

/// Threads that all run one function, and are joined.
@safe
final class WorkerThreads {
  private var threads: [pthread_t] = []

  /// Starts `count` threads; `body` is given each one's index.
  init(count: Int, _ body: @escaping @Sendable (Int) -> Void) throws(StoreError) {
    for index in 0..<count {
      let start = unsafe Unmanaged.passRetained(Start(index: index, body: body))
      var thread = pthread_t()
      // SAFETY: the thread takes over the one retained reference; if there is none, it is let go.
      let code = unsafe pthread_create(&thread, nil, runWorker, start.toOpaque())
      guard code == 0 else {
        unsafe start.release()
        throw .system(doing: "starting a thread", path: "this process", code: code)
      }
      threads.append(thread)
    }
  }

  /// Waits until all have returned.
  func join() {
    for thread in threads { pthread_join(thread, nil) }
    threads = []
  }
}

/// What a thread begins with.
private final class Start: Sendable {
  let index: Int
  let body: @Sendable (Int) -> Void

  init(index: Int, body: @escaping @Sendable (Int) -> Void) {
    self.index = index
    self.body = body
  }
}

private func runWorker(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let argument = unsafe argument else { return nil }
  // SAFETY: the argument is the retained Start that `WorkerThreads.init` handed over.
  let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
  start.body(start.index)
  return nil
}

/// How many threads a save uses unless it is told.
func defaultThreadCount() -> Int {
  min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1), 8)
}
