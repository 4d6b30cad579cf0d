// How an MC146818 writes a date down, and when its alarm is due.

extension ClockRegisters {
  /// Puts a time into the clock's bytes.
  mutating func latch(_ time: WallTime) {
    let date = ClockDate(secondsSinceEpoch: time.seconds)
    bytes[0] = encode(date.second)
    bytes[2] = encode(date.minute)
    bytes[4] = encode(hour: date.hour)
    bytes[6] = encode(date.weekday)
    bytes[7] = encode(date.day)
    bytes[8] = encode(date.month)
    bytes[9] = encode(date.year % 100)
    bytes[Self.centuryIndex] = encode(date.year / 100 % 100)
  }

  /// Lets the clock run on from what its bytes say.
  mutating func release(now: WallTime) {
    let date = ClockDate(
      year: decode(bytes[Self.centuryIndex]) * 100 + decode(bytes[9]),
      month: min(max(decode(bytes[8]), 1), 12), day: min(max(decode(bytes[7]), 1), 31),
      hour: decode(hour: bytes[4]), minute: decode(bytes[2]), second: decode(bytes[0]))
    // Four digits of a year in nanoseconds fit 63 bits only up to 2262.
    let limit = Int64.max / WallTime.nanosecondsPerSecond - 1
    let seconds = min(max(date.secondsSinceEpoch, -limit), limit)
    offset = seconds * WallTime.nanosecondsPerSecond &- now.nanoseconds
    reviewed = guestTime(now).nanoseconds
  }

  /// The first second after `seconds` at which the alarm is due; nil if it never is.
  ///
  /// An alarm byte of 0xc0 or more stands for any value.
  func nextAlarm(after seconds: Int64) -> Int64? {
    let second = bytes[1] >= 0xc0 ? nil : decode(bytes[1])
    let minute = bytes[3] >= 0xc0 ? nil : decode(bytes[3])
    let hour = bytes[5] >= 0xc0 ? nil : decode(hour: bytes[5])
    guard (second ?? 0) < 60, (minute ?? 0) < 60, (hour ?? 0) < 24 else { return nil }
    var time = seconds + 1
    // At most 24 steps of an hour to the hour, 60 of a minute, 60 of a second, and once more each
    // where the day ends between.
    for _ in 0..<300 {
      let ofDay = time - WallTime.floor(time, by: 86_400) * 86_400
      if let hour, Int(ofDay / 3600) != hour {
        time += 3600 - ofDay % 3600
      } else if let minute, Int(ofDay / 60 % 60) != minute {
        time += 60 - ofDay % 60
      } else if let second, Int(ofDay % 60) != second {
        time += 1
      } else {
        return time
      }
    }
    return nil
  }

  private var isBinary: Bool { bytes[11] & Self.binaryMode != 0 }
  private var isFullDay: Bool { bytes[11] & Self.fullDay != 0 }

  private func encode(_ value: Int) -> UInt8 {
    UInt8(clamping: isBinary ? value : (value / 10) << 4 | value % 10)
  }

  private func decode(_ byte: UInt8) -> Int {
    isBinary ? Int(byte) : Int(byte >> 4) * 10 + Int(byte & 0x0f)
  }

  /// On a clock of twelve hours the top bit says afternoon, and 12 comes before 1.
  private func encode(hour: Int) -> UInt8 {
    if isFullDay { return encode(hour) }
    return encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0)
  }

  private func decode(hour byte: UInt8) -> Int {
    if isFullDay { return decode(byte) }
    return decode(byte & 0x7f) % 12 + (byte & 0x80 != 0 ? 12 : 0)
  }
}
