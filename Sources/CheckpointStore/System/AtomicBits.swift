// Bits that many threads set and none clears.

import CLinux

/// A fixed number of bits, all clear at first; any thread may set and test any of them.
@safe
final class AtomicBits: @unchecked Sendable {
  let count: Int
  private let words: UnsafeMutablePointer<UInt64>

  init(count: Int) {
    self.count = count
    unsafe words = UnsafeMutablePointer.allocate(capacity: count / 64 + 1)
    // SAFETY: just allocated with that capacity.
    unsafe words.initialize(repeating: 0, count: count / 64 + 1)
  }

  deinit { unsafe words.deallocate() }

  /// Whether a bit is set.
  @inline(__always)
  subscript(index: Int) -> Bool {
    precondition(index >= 0 && index < count, "a bit outside the set")
    // SAFETY: the index is inside the allocation.
    return unsafe godwit_word_load(words + index / 64) >> UInt64(index % 64) & 1 == 1
  }

  /// Sets a bit; whether it was clear.
  @discardableResult
  func set(_ index: Int) -> Bool {
    precondition(index >= 0 && index < count, "a bit outside the set")
    let bit: UInt64 = 1 << UInt64(index % 64)
    while true {
      // SAFETY: the index is inside the allocation.
      let old = unsafe godwit_word_load(words + index / 64)
      if old & bit != 0 { return false }
      if unsafe godwit_word_exchange(words + index / 64, old, old | bit) { return true }
    }
  }
}
