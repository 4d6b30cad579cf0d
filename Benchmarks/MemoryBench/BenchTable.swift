// The table of results: what was measured, the bar, and whether it was met.

import Foundation

/// Collects rows and prints them as they come.
struct BenchTable {
  private(set) var missCount = 0

  mutating func add(_ what: String, _ measured: String, bar: String = "", met: Bool? = nil) {
    if met == false { missCount += 1 }
    let verdict = met.map { $0 ? "met" : "NOT MET" } ?? ""
    let line =
      "\(Self.pad(what, 62)) \(Self.pad(measured, 26)) \(Self.pad(bar, 22)) \(verdict)"
    print(line)
    // The output may be a pipe; a long run should show what it has.
    fflush(nil)
  }

  /// A ratio that has to reach a bar.
  mutating func add(_ what: String, ratio: Double, atLeast bar: Double) {
    add(
      what, String(format: "%.2f x", ratio), bar: String(format: "at least %g x", bar),
      met: ratio >= bar)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
  }
}

/// Seconds that something takes.
func seconds(_ body: () -> Void) -> Double {
  let start = ContinuousClock.now
  body()
  let (whole, part) = (ContinuousClock.now - start).components
  return Double(whole) + Double(part) / 1e18
}

/// The best times of several things that are measured in turns.
///
/// Other work on the machine only ever makes a time longer, and in turns it meets all of them.
struct BestTimes {
  private var best: [String: Double] = [:]

  mutating func measure(_ name: String, _ body: () -> Void) {
    best[name] = min(best[name] ?? .infinity, seconds(body))
  }

  subscript(name: String) -> Double { best[name] ?? .nan }
}

/// Bitmaps with a known share of their bits set.
enum Bitmaps {
  /// - Parameters:
  ///   - bitCount: how many bits, a multiple of 64.
  ///   - perMille: how many of a thousand are set, at random places; 1000 sets all.
  static func random(bitCount: Int, perMille: Double) -> [UInt64] {
    if perMille >= 1000 { return [UInt64](repeating: .max, count: bitCount / 64) }
    var words = [UInt64](repeating: 0, count: bitCount / 64)
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    for _ in 0..<Int(Double(bitCount) * perMille / 1000) {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      let bit = Int(state >> 16) % bitCount
      words[bit / 64] |= 1 << UInt64(bit % 64)
    }
    return words
  }
}
