// Looking at some pages before and after a period: what a machine without a dirty log can tell of
// how fast its memory changes.

import Glibc
import GuestMemory

/// Estimates how many pages a guest writes by sampling.
enum PageSampling {
  private static let pageByteCount: UInt64 = 4096

  /// A page that is looked at twice.
  private struct Sample {
    var address: UInt64
    var fingerprint: UInt64
  }

  /// Counts the sampled pages that change in a period, and extrapolates to all of them.
  ///
  /// A page that is written with what it held counts as unchanged.
  static func count(
    in machine: any MachineControl, during period: Duration, samplesPerGibibyte: UInt64
  ) throws(MachineError) -> DirtyPageCount {
    let ranges = machine.memoryMap.filter { $0.kind == .ram && $0.byteCount >= pageByteCount }
    let start = ContinuousClock.now
    var samples: [Sample] = []
    for range in ranges {
      let pageCount = range.byteCount / pageByteCount
      let share = ((range.byteCount >> 10) * samplesPerGibibyte) >> 20
      for _ in 0..<min(max(share, 1), pageCount) {
        let address = range.start.rawValue + UInt64.random(in: 0..<pageCount) * pageByteCount
        samples.append(
          Sample(address: address, fingerprint: try fingerprint(machine, address)))
      }
    }
    let firstLook = ContinuousClock.now - start
    while ContinuousClock.now - start < period + firstLook { usleep(10_000) }
    let second = ContinuousClock.now
    var changed: UInt64 = 0
    for sample in samples where try fingerprint(machine, sample.address) != sample.fingerprint {
      changed += 1
    }
    // Looking takes time, in which the guest goes on: between the two looks at a page lies, in the
    // mean, the time between the middles of both.
    let elapsed = second - start + (ContinuousClock.now - second - firstLook) / 2
    let pageCount = ranges.reduce(0) { $0 + $1.byteCount } / pageByteCount
    let sampled = max(1, UInt64(samples.count))
    return DirtyPageCount(
      pageCount: UInt64(Double(changed) / Double(sampled) * Double(pageCount)), period: elapsed)
  }

  /// A number that differs, as good as surely, where the page does.
  private static func fingerprint(
    _ machine: any MachineControl, _ address: UInt64
  ) throws(MachineError) -> UInt64 {
    let bytes = try machine.readMemory(
      at: GuestAddress(address), byteCount: Int(pageByteCount))
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    var index = 0
    while index + 8 <= bytes.count {
      var word: UInt64 = 0
      for offset in 0..<8 { word |= UInt64(bytes[index + offset]) << UInt64(8 * offset) }
      // The finaliser of SplitMix64: every bit of the word reaches every bit of the state.
      state = (state ^ word) &* 0xbf58_476d_1ce4_e5b9
      state ^= state >> 31
      index += 8
    }
    return state
  }
}
