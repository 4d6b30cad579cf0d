// A value that threads share and wait upon: the one place of this module where they block on
// each other.

import CLinux
import Glibc

/// A value under a lock, and threads that wait until it is as they need it.
///
/// Unlike `Mutex` it can be waited upon. It must not be entered again from inside a closure.
@safe
final class Monitor<Value: Sendable>: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  /// Guarded by `mutex`.
  private var value: Value

  init(_ value: Value) {
    self.value = value
    // SAFETY: both are allocated once, initialised before use and freed in deinit only; the
    // condition is timed by the monotonic clock.
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe mutex.initialize(to: pthread_mutex_t())
    unsafe condition.initialize(to: pthread_cond_t())
    unsafe pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(condition, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    // SAFETY: nobody waits on an object that nobody holds.
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Reads or changes the value and wakes everyone who waits.
  func update<Result>(_ body: (inout Value) -> Result) -> Result {
    // SAFETY: the lock is held around the change.
    unsafe pthread_mutex_lock(mutex)
    defer {
      unsafe pthread_cond_broadcast(condition)
      unsafe pthread_mutex_unlock(mutex)
    }
    return body(&value)
  }

  /// Reads the value.
  func read<Result>(_ body: (Value) -> Result) -> Result {
    // SAFETY: the lock is held around the read.
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body(value)
  }

  /// Waits until `body` answers something, looking again after every update.
  func wait<Result>(_ body: (inout Value) -> Result?) -> Result {
    // SAFETY: the lock is held around every look; the wait gives it up meanwhile.
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while true {
      if let result = body(&value) { return result }
      unsafe pthread_cond_wait(condition, mutex)
    }
  }

  /// Waits as ``wait(_:)`` does, at most for that long; nil where it took longer.
  func wait<Result>(atMost timeout: Duration, _ body: (inout Value) -> Result?) -> Result? {
    var deadline = timespec()
    let (seconds, attoseconds) = timeout.components
    // SAFETY: the kernel fills the local; the lock is held around every look.
    unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
    let nanoseconds = Int64(deadline.tv_nsec) + attoseconds / 1_000_000_000
    deadline.tv_sec += Int(seconds + nanoseconds / 1_000_000_000)
    deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while true {
      if let result = body(&value) { return result }
      if unsafe pthread_cond_timedwait(condition, mutex, &deadline) != 0 { return body(&value) }
    }
  }
}
