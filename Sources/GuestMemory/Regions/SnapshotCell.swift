// One current value that is replaced as a whole, for readers that must never wait.
//
// A mutex around a reference would stop a vCPU for as long as another reader that was preempted
// inside it. Here a reader announces itself in a counter, takes its reference and leaves; the
// writer publishes the new value and lets the old one go only after every reader that may have seen
// it has its reference. There are two counters, used in turns, so that new readers cannot keep the
// writer waiting; readers are inside for some nanoseconds, so it waits about as long.

internal import Glibc
internal import Synchronization

/// A reference that many threads read while one replaces it.
@safe
final class SnapshotCell<Value: AnyObject & Sendable>: Sendable {
  private let current: Atomic<UInt>
  private let side = Atomic<Int>(0)
  private let readersOnSide0 = Atomic<Int>(0)
  private let readersOnSide1 = Atomic<Int>(0)
  private let writing = Mutex<Void>(())

  init(_ value: Value) {
    // SAFETY: the reference counted here is released by `deinit` or `replace`.
    current = Atomic(unsafe UInt(bitPattern: Unmanaged.passRetained(value).toOpaque()))
  }

  deinit {
    // SAFETY: the published reference, released once; nobody else has this cell any more.
    unsafe Self.reference(current.load(ordering: .sequentiallyConsistent)).release()
  }

  /// The current value; never waits.
  var value: Value {
    if side.load(ordering: .sequentiallyConsistent) == 0 {
      readersOnSide0.wrappingAdd(1, ordering: .sequentiallyConsistent)
      let reference = unsafe retained()
      readersOnSide0.wrappingSubtract(1, ordering: .sequentiallyConsistent)
      // SAFETY: takes over the reference counted by `retained`.
      return unsafe reference.takeRetainedValue()
    }
    readersOnSide1.wrappingAdd(1, ordering: .sequentiallyConsistent)
    let reference = unsafe retained()
    readersOnSide1.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    // SAFETY: as above.
    return unsafe reference.takeRetainedValue()
  }

  /// Makes another value current; returns when nobody can be on the way to the old one any more.
  func replace(by value: Value) {
    writing.withLock { _ in
      // SAFETY: the reference counted here is released by the next `replace` or `deinit`.
      let new = unsafe UInt(bitPattern: Unmanaged.passRetained(value).toOpaque())
      let old = current.exchange(new, ordering: .sequentiallyConsistent)
      // A reader may have read the side before it was turned and count itself there after the
      // first waiting; it then sees the new value, or is waited for at the second turn.
      for turn in [1, 0] {
        side.store(turn, ordering: .sequentiallyConsistent)
        while readers(onSide: 1 - turn) != 0 { sched_yield() }
      }
      // SAFETY: nobody else can reach the old value's published reference.
      unsafe Self.reference(old).release()
    }
  }

  private func readers(onSide side: Int) -> Int {
    side == 0
      ? readersOnSide0.load(ordering: .sequentiallyConsistent)
      : readersOnSide1.load(ordering: .sequentiallyConsistent)
  }

  /// The current value with one more reference counted; only while announced as a reader.
  private func retained() -> Unmanaged<Value> {
    let reference = unsafe Self.reference(current.load(ordering: .sequentiallyConsistent))
    // SAFETY: the writer does not release the value while this reader is announced.
    _ = unsafe reference.retain()
    return unsafe reference
  }

  private static func reference(_ bits: UInt) -> Unmanaged<Value> {
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: bits) else {
      preconditionFailure("a cell always has a value")
    }
    // SAFETY: `bits` come from `passRetained` of a value of this type.
    return unsafe Unmanaged<Value>.fromOpaque(pointer)
  }
}
