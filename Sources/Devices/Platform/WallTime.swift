// The host's clock as devices see it, and dates as a clock chip shows them.

/// Time since 1970-01-01 00:00:00 UTC.
struct WallTime: Equatable, Sendable {
  static let nanosecondsPerSecond: Int64 = 1_000_000_000

  var nanoseconds: Int64

  /// Whole seconds, rounded down.
  var seconds: Int64 { Self.floor(nanoseconds, by: Self.nanosecondsPerSecond) }
  /// What is left above them, in nanoseconds.
  var fraction: Int64 { nanoseconds &- seconds &* Self.nanosecondsPerSecond }

  /// Division that rounds down, for times before 1970 too; the divisor is positive.
  static func floor(_ value: Int64, by divisor: Int64) -> Int64 {
    value % divisor < 0 ? value / divisor - 1 : value / divisor
  }
}

/// A date and time of day without time zone.
struct ClockDate: Equatable, Sendable {
  var year: Int
  /// 1 to 12.
  var month: Int
  /// 1 to 31.
  var day: Int
  var hour: Int
  var minute: Int
  var second: Int

  /// 1 for Sunday to 7 for Saturday, as clock chips count.
  var weekday: Int {
    // 1970-01-01 was a Thursday.
    let days = Int(WallTime.floor(secondsSinceEpoch, by: 86_400))
    return ((days + 4) % 7 + 7) % 7 + 1
  }

  /// The date of a time.
  init(secondsSinceEpoch: Int64) {
    let days = Int(WallTime.floor(secondsSinceEpoch, by: 86_400))
    let rest = Int(secondsSinceEpoch - Int64(days) * 86_400)
    (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60)
    // Years are counted from March, so that a leap day is the last of its year; 400 years are one
    // era of 146,097 days.
    let shifted = days + 719_468
    let era = Int(WallTime.floor(Int64(shifted), by: 146_097))
    let dayOfEra = shifted - era * 146_097
    let yearOfEra =
      (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  init(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
    (self.year, self.month, self.day) = (year, month, day)
    (self.hour, self.minute, self.second) = (hour, minute, second)
  }

  /// The time of a date; fields beyond their range count on from it.
  var secondsSinceEpoch: Int64 {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = Int(WallTime.floor(Int64(shiftedYear), by: 400))
    let yearOfEra = shiftedYear - era * 400
    let shiftedMonth = month > 2 ? month - 3 : month + 9
    let dayOfYear = (153 * shiftedMonth + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    let days = era * 146_097 + dayOfEra - 719_468
    return Int64(days) * 86_400 + Int64(hour * 3600 + minute * 60 + second)
  }
}
