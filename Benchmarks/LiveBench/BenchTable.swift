// The table of results: what was measured, the bar, and whether it was met.

import Foundation

/// One measured figure beside its bar.
struct BenchRow {
  var what: String
  var measured: String
  var bar: String
  /// Nil where there is nothing to hold it against.
  var isMet: Bool?
}

/// Collects rows and prints them as they come, so that a long run shows what it has.
struct BenchTable {
  private(set) var rows: [BenchRow] = []

  mutating func add(_ what: String, _ measured: String, bar: String = "", met: Bool? = nil) {
    rows.append(BenchRow(what: what, measured: measured, bar: bar, isMet: met))
    let verdict = met.map { $0 ? "met" : "NOT MET" } ?? ""
    print("\(Self.pad(what, 56)) \(Self.pad(measured, 44)) \(Self.pad(bar, 22)) \(verdict)")
    // The output may be a pipe; a long run should show what it has.
    fflush(nil)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text.count >= width ? text : text + String(repeating: " ", count: width - text.count)
  }
}

/// Statistics over a handful of runs.
struct Runs {
  private let sorted: [Double]

  init(_ values: [Double]) { sorted = values.sorted() }

  var median: Double { percentile(50) }

  /// The smallest value that so many percent of all do not exceed.
  func percentile(_ percent: Int) -> Double {
    guard !sorted.isEmpty else { return .nan }
    let rank = (sorted.count * percent + 99) / 100
    return sorted[min(max(rank, 1), sorted.count) - 1]
  }

  /// Median and range.
  func text(_ unit: String) -> String {
    String(
      format: "%.1f %@ (%.1f–%.1f)", median, unit, sorted.first ?? .nan, sorted.last ?? .nan)
  }
}
