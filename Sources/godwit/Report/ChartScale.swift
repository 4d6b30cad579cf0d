// Round numbers along an axis.

import Foundation

/// An axis from 0 to a round number above the largest value, with some ticks.
struct ChartScale: Equatable {
  /// The end of the axis.
  let top: Double
  /// Where the ticks are, 0 and the end included.
  let ticks: [Double]

  /// A scale that holds `maximum`, in steps of 1, 2 or 5 times a power of ten of its unit.
  /// - Parameters:
  ///   - isBinary: whether the unit is a power of 1024 (bytes) rather than 1.
  ///   - count: about how many ticks.
  init(upTo maximum: Double, isBinary: Bool = false, count: Int = 4) {
    guard maximum.isFinite, maximum > 0 else {
      top = 1
      ticks = [0, 1]
      return
    }
    var unit = 1.0
    if isBinary {
      while maximum / unit >= 1024 { unit *= 1024 }
    }
    let rough = maximum / unit / Double(count)
    let power = pow(10, floor(log10(rough)))
    let step = [1, 2, 5, 10].first { $0 * power >= rough * 0.999 } ?? 10
    let width = step * power * unit
    let steps = max(Int((maximum / width).rounded(.up)), 1)
    top = Double(steps) * width
    ticks = (0...steps).map { Double($0) * width }
  }

  /// A scale that ends exactly at `maximum`, as a time axis does.
  init(exactly maximum: Double, count: Int = 8) {
    let round = ChartScale(upTo: maximum, count: count)
    top = maximum > 0 ? maximum : 1
    ticks = round.ticks.filter { $0 <= (maximum > 0 ? maximum : 1) }
  }
}
