// Threads of an engine, or of a pager, waiting for each other: the one place where they block on
// anything but a channel.

internal import Glibc

/// A condition that threads wait for until another says that something changed.
///
/// Changes that come between two waits are not lost: a waiter names the change it has seen.
@safe
public final class Signal: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  /// Guarded by `mutex`.
  private var changes: UInt64 = 0

  /// A condition of which nothing was announced.
  public init() {
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

  /// How many changes were announced so far.
  public var changeCount: UInt64 {
    // SAFETY: the lock is held around the read.
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return changes
  }

  /// Wakes everyone who waits.
  public func announce() {
    // SAFETY: the lock is held around the change.
    unsafe pthread_mutex_lock(mutex)
    changes &+= 1
    unsafe pthread_cond_broadcast(condition)
    unsafe pthread_mutex_unlock(mutex)
  }

  /// Waits until there were more changes than `seen`, or `timeout` has passed.
  public func wait(after seen: UInt64, timeout: Duration) {
    var deadline = timespec()
    // SAFETY: the kernel fills the local; the lock is held around the check and the wait.
    unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
    let total = Int64(deadline.tv_nsec) + max(0, timeout.nanoseconds)
    deadline.tv_sec += Int(total / 1_000_000_000)
    deadline.tv_nsec = Int(total % 1_000_000_000)
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while changes == seen {
      if unsafe pthread_cond_timedwait(condition, mutex, &deadline) != 0 { return }
    }
  }
}
