// A page's fingerprint, and whether it is all zero, in one pass over it.

/// Fingerprints that tell pages apart; not proof against someone who makes pages to collide.
enum InspectionFingerprint {
  /// The fingerprint of some bytes: 0 only if all of them are zero.
  static func of(_ bytes: RawSpan, seed: UInt64 = 0) -> UInt64 {
    var lanes: (UInt64, UInt64, UInt64, UInt64) = (seed, ~seed, 0x9E37_79B9_7F4A_7C15, 0)
    var all: UInt64 = 0
    let end = bytes.byteCount & ~31
    for offset in stride(from: 0, to: end, by: 32) {
      let first = word(bytes, offset)
      let second = word(bytes, offset + 8)
      let third = word(bytes, offset + 16)
      let fourth = word(bytes, offset + 24)
      all |= first | second | third | fourth
      lanes.0 = mix(lanes.0, first)
      lanes.1 = mix(lanes.1, second)
      lanes.2 = mix(lanes.2, third)
      lanes.3 = mix(lanes.3, fourth)
    }
    for offset in end..<bytes.byteCount {
      // SAFETY: the offset is below the span's length, and every byte is a valid UInt8.
      let byte = unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
      all |= UInt64(byte)
      lanes.0 = mix(lanes.0, UInt64(byte) + 1)
    }
    guard all != 0 || seed != 0 else { return 0 }
    let sum = mix(mix(mix(lanes.0, lanes.1), lanes.2), lanes.3) ^ UInt64(bytes.byteCount)
    return sum == 0 ? 1 : sum
  }

  private static func word(_ bytes: RawSpan, _ offset: Int) -> UInt64 {
    // SAFETY: the load itself checks its bounds, and every bit pattern is a valid UInt64.
    unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }

  /// Folds a word into a lane: a 64 by 64 bit product, its halves joined, loses no bit of either.
  private static func mix(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    let product = (lane ^ word ^ 0xA076_1D64_78BD_642F)
      .multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
    return product.high ^ product.low
  }
}
