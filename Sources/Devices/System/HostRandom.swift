// The kernel's random numbers.

import CLinux

/// Reads the kernel's generator.
enum HostRandom {
  /// So many random bytes.
  static func bytes(_ count: Int) -> [UInt8] {
    // SAFETY: the call fills what it says it filled, at most the buffer's room.
    unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = 0
      while filled < count, let base = buffer.baseAddress {
        let result = unsafe godwit_random(base + filled, count - filled)
        if result <= 0 { break }
        filled += result
      }
    }
  }
}
