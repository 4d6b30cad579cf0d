// Quantities as a person reads them: sizes, counts and times in a few characters.

import Foundation

/// Quantities in words.
enum Units {
  /// A size in binary units with three significant digits or so: `1.2 GiB`, `310 MiB`, `17 B`.
  static func size(_ byteCount: UInt64) -> String {
    let names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var value = Double(byteCount)
    var unit = 0
    // 999.5 would print as 1000, so the next unit begins there.
    while value >= 999.5, unit < names.count - 1 {
      value /= 1024
      unit += 1
    }
    let places = unit > 0 && value < 99.95 ? 1 : 0
    return "\(decimal(value, places: places)) \(names[unit])"
  }

  /// A rate in binary units a second.
  static func rate(_ bytesPerSecond: Double) -> String {
    guard bytesPerSecond.isFinite, bytesPerSecond > 0 else { return "0 B/s" }
    return size(UInt64(min(bytesPerSecond, 1e18))) + "/s"
  }

  /// A whole number with a comma every three digits.
  static func count(_ value: UInt64) -> String {
    var grouped = ""
    let digits = String(value)
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { grouped.append(",") }
      grouped.append(digit)
    }
    return grouped
  }

  /// A number of things, in the singular where it is one.
  static func count(_ value: UInt64, _ noun: String) -> String {
    "\(count(value)) \(noun)\(value == 1 ? "" : "s")"
  }

  /// A time given in milliseconds: `2.1 ms`, `340 ms`, `12.5 s`.
  static func milliseconds(_ value: Double) -> String {
    value < 1000 ? "\(decimal(value, places: value < 100 ? 1 : 0)) ms" : seconds(value / 1000)
  }

  /// A time given in seconds: `0.4 s`, `12.5 s`, `3 min 05 s`, `2 h 10 min`.
  static func seconds(_ value: Double) -> String {
    guard value.isFinite, value >= 0 else { return "unknown" }
    guard value >= 100 else { return "\(decimal(value, places: 1)) s" }
    let whole = UInt64(min(value.rounded(), 1e15))
    guard whole >= 3600 else { return "\(whole / 60) min \(padded(whole % 60)) s" }
    return "\(whole / 3600) h \(padded(whole % 3600 / 60)) min"
  }

  /// A percentage without decimals, of a fraction that may be slightly outside 0…1.
  static func percent(_ fraction: Double) -> String {
    "\(Int((min(max(fraction, 0), 1) * 100).rounded(.down))) %"
  }

  /// A number with so many decimals (0 to 3), whatever the locale.
  static func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "unknown" }
    let scale: Int64 = [1, 10, 100, 1000][min(max(places, 0), 3)]
    let scaled = Int64((abs(value) * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard scale > 1 else { return "\(sign)\(scaled)" }
    let fraction = String(scaled % scale + scale).dropFirst()
    return "\(sign)\(scaled / scale).\(fraction)"
  }

  /// A moment, given in seconds since 1970, in the local time zone.
  static func date(_ secondsSince1970: Double) -> String {
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.dateFormat = "yyyy-MM-dd HH:mm"
    return format.string(from: Date(timeIntervalSince1970: secondsSince1970))
  }

  private static func padded(_ value: UInt64) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
