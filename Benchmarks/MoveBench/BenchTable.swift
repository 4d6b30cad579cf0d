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
    let row = BenchRow(what: what, measured: measured, bar: bar, isMet: met)
    rows.append(row)
    let verdict = met.map { $0 ? "met" : "NOT MET" } ?? ""
    print(
      "\(Self.pad(row.what, 58)) \(Self.pad(row.measured, 34)) \(Self.pad(row.bar, 24)) \(verdict)")
    // The output may be a pipe; a long run should show what it has.
    fflush(nil)
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text.count >= width ? text : text + String(repeating: " ", count: width - text.count)
  }
}

/// Statistics over a handful of runs.
enum Runs {
  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count.isMultiple(of: 2)
      ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
  }

  static func spread(_ values: [Double], _ unit: String) -> String {
    String(
      format: "%.1f %@ (%.1f–%.1f)", median(values), unit, values.min() ?? .nan,
      values.max() ?? .nan)
  }
}
