// A device's own thread: it works in steps, sleeps in poll(2) between them, and can be parked.

import CLinux
import Glibc
import Synchronization
import Transport

/// What a device's thread sleeps for between two steps, beside being kicked.
struct ThreadWait: Sendable {
  /// Descriptors and the poll(2) events that end the sleep.
  var descriptors: [(number: Int32, events: Int32)] = []
  /// When to wake up all the same; nil sleeps on.
  var timeout: Duration?
  /// Whether there is more to do at once.
  var isBusy = false

  static let kick = ThreadWait()
}

/// A thread that calls its step whenever it was kicked or what it waits for has come.
///
/// It stands still, between steps, while the machine holds it (it is created held) or while
/// somebody has paused it, and works while neither is so. Kicks that come meanwhile are not lost.
@safe
final class DeviceThread: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private let wake: OwnedDescriptor
  /// Guarded by `mutex`, as are the next three.
  private var pauseCount = 0
  private var isHeld = true
  private var isParked = false
  private var isRunning = false
  private let wantsPause = Atomic<Bool>(true)
  private let isEnded = Atomic<Bool>(false)

  /// Creates the thread's means; `start` starts it.
  init() throws(DeviceError) {
    let number = godwit_eventfd()
    guard number >= 0 else {
      throw .system(doing: "Creating an event descriptor for a device", code: -number)
    }
    wake = OwnedDescriptor(adopting: number)
    // SAFETY: both are allocated once, initialised before use and freed in deinit only.
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe mutex.initialize(to: pthread_mutex_t())
    unsafe condition.initialize(to: pthread_cond_t())
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
  }

  deinit {
    // SAFETY: nobody waits on an object that nobody holds.
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Starts the thread; called once.
  ///
  /// - Parameters:
  ///   - name: what debuggers show, at most 15 bytes.
  ///   - step: does what there is to do and says what to sleep for; nil ends the thread. It returns
  ///     soon after `shouldYield` turns true.
  func start(name: String, step: @escaping @Sendable () -> ThreadWait?) throws(DeviceError) {
    withLock { isRunning = true }
    do throws(TransportError) {
      _ = try NamedThread(name: name, stackByteCount: 256 << 10) { self.run(step) }
    } catch {
      withLock { isRunning = false }
      throw .transport(error)
    }
  }

  /// Whether a step had better end, because somebody waits for the thread to stand still.
  var shouldYield: Bool { wantsPause.load(ordering: .acquiring) }

  /// Has the thread take another step soon.
  func kick() {
    var one: UInt64 = 1
    // SAFETY: eight bytes of a local are read.
    _ = unsafe Glibc.write(wake.raw, &one, 8)
  }

  /// Returns once no step is under way; none begins before `release()`.
  func hold() {
    withLock {
      isHeld = true
      awaitStandstill()
    }
  }

  /// Takes `hold()` back, or the hold that the thread was created with.
  func release() {
    withLock {
      isHeld = false
      goOn()
    }
  }

  /// Returns once no step is under way; none begins before as many `unpause()`s.
  func pause() {
    withLock {
      pauseCount += 1
      awaitStandstill()
    }
  }

  /// Takes one `pause()` back.
  func unpause() {
    withLock {
      precondition(pauseCount > 0, "a thread is unpaused as often as it was paused")
      pauseCount -= 1
      goOn()
    }
  }

  /// Ends the thread soon; it takes no further step.
  func end() {
    isEnded.store(true, ordering: .releasing)
    kick()
    // SAFETY: the lock is held around the broadcast.
    withLock { _ = unsafe pthread_cond_broadcast(condition) }
  }

  /// Waits, with the lock held, until the thread stands still.
  private func awaitStandstill() {
    wantsPause.store(true, ordering: .releasing)
    kick()
    while isRunning && !isParked {
      // SAFETY: the lock is held, and both outlive the wait.
      unsafe pthread_cond_wait(condition, mutex)
    }
  }

  /// Lets the thread go on, with the lock held, if nobody wants it to stand still any more.
  private func goOn() {
    guard pauseCount == 0, !isHeld else { return }
    wantsPause.store(false, ordering: .releasing)
    kick()
    // SAFETY: the lock is held.
    unsafe pthread_cond_broadcast(condition)
  }

  private func withLock<R>(_ body: () -> R) -> R {
    // SAFETY: the lock was initialised in init and lives as long as this object.
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body()
  }

  private func run(_ step: () -> ThreadWait?) {
    while awaitTurn() {
      guard let wait = step() else { break }
      sleep(wait)
    }
    withLock {
      isRunning = false
      // SAFETY: the lock is held.
      unsafe pthread_cond_broadcast(condition)
    }
  }

  /// Stands still while somebody wants it to; whether there is a step to take afterwards.
  private func awaitTurn() -> Bool {
    withLock {
      while (pauseCount > 0 || isHeld) && !isEnded.load(ordering: .acquiring) {
        isParked = true
        // SAFETY: the lock is held, and both outlive the wait.
        unsafe pthread_cond_broadcast(condition)
        unsafe pthread_cond_wait(condition, mutex)
      }
      isParked = false
      return !isEnded.load(ordering: .acquiring)
    }
  }

  private func sleep(_ wait: ThreadWait) {
    if wait.isBusy { return }
    var polled = [pollfd(fd: wake.raw, events: Int16(POLLIN), revents: 0)]
    for watched in wait.descriptors {
      polled.append(pollfd(fd: watched.number, events: Int16(watched.events), revents: 0))
    }
    var milliseconds: Int32 = -1
    if let timeout = wait.timeout {
      let (seconds, attoseconds) = timeout.components
      let whole = seconds * 1000 + attoseconds / 1_000_000_000_000_000
      milliseconds = Int32(clamping: max(0, whole) + (attoseconds > 0 ? 1 : 0))
    }
    // SAFETY: the array holds its entries for the duration of the call; eight bytes go to a local.
    unsafe poll(&polled, nfds_t(polled.count), milliseconds)
    if polled[0].revents != 0 {
      var count: UInt64 = 0
      _ = unsafe Glibc.read(wake.raw, &count, 8)
    }
  }
}
