// The registers of an MC146818, as a state machine that is told the time.

/// What an MC146818 knows: 128 bytes of CMOS, the first fourteen of which are its clock.
///
/// The guest's time is the host's plus an offset, which setting the clock changes. Nothing runs
/// between accesses: what should have happened meanwhile is worked out when somebody looks.
struct ClockRegisters: Sendable, Equatable {
  static let byteCount = 128
  static let centuryIndex = 0x32
  /// Register C: what has happened.
  static let flagIndex = 12

  // Register B.
  static let setBit: UInt8 = 0x80
  static let periodicEnable: UInt8 = 0x40
  static let alarmEnable: UInt8 = 0x20
  static let updateEnable: UInt8 = 0x10
  static let binaryMode: UInt8 = 0x04
  static let fullDay: UInt8 = 0x02
  // Register A.
  static let updateInProgress: UInt8 = 0x80
  /// The registers must not be read for so long before each update.
  static let updateNanoseconds: Int64 = 244_000

  /// All 128 bytes; those of the clock are only right while it is held.
  var bytes: [UInt8]
  /// Which one the data port stands for.
  var index: UInt8 = 0
  /// The guest's time less the host's, in nanoseconds.
  var offset: Int64 = 0
  /// Up to which moment of the guest's time flags were worked out, in nanoseconds.
  var reviewed: Int64

  init(now: WallTime) {
    bytes = [UInt8](repeating: 0, count: Self.byteCount)
    bytes[10] = 0x26  // a 32,768 Hz crystal, 1024 Hz periodic rate
    bytes[11] = Self.fullDay
    bytes[13] = 0x80  // the battery is good
    reviewed = now.nanoseconds
  }

  private var control: UInt8 { bytes[11] }
  /// Flags in register C that are also enabled.
  var isInterrupting: Bool { bytes[12] & control & 0x70 != 0 }
  /// The clock stands still while it is set, or its divider is held.
  private var isHeld: Bool { control & Self.setBit != 0 || bytes[10] & 0x60 == 0x60 }

  /// Reads the register the index stands for, with the effects that reading has.
  mutating func read(now: WallTime) -> UInt8 {
    review(now: now)
    let index = Int(index)
    switch index {
    case 0, 2, 4, 6...9, Self.centuryIndex:
      if !isHeld { latch(guestTime(now)) }
      return bytes[index]
    case 10:
      let isUpdating =
        !isHeld
        && guestTime(now).fraction
          >= WallTime.nanosecondsPerSecond - Self.updateNanoseconds
      return bytes[10] & 0x7f | (isUpdating ? Self.updateInProgress : 0)
    case 12:
      let flags = bytes[12] & 0x70 | (isInterrupting ? 0x80 : 0)
      bytes[12] = 0
      return flags
    default: return bytes[index]
    }
  }

  /// Writes the register the index stands for.
  mutating func write(_ value: UInt8, now: WallTime) {
    review(now: now)
    let index = Int(index)
    switch index {
    case 0, 2, 4, 6...9, Self.centuryIndex:
      if !isHeld { latch(guestTime(now)) }
      bytes[index] = value
      if !isHeld { release(now: now) }
    case 10, 11:
      let wasHeld = isHeld
      if !wasHeld { latch(guestTime(now)) }
      bytes[index] = index == 10 ? value & 0x7f : value
      if index == 11 && value & Self.setBit != 0 { bytes[11] &= ~Self.updateEnable }
      if wasHeld && !isHeld { release(now: now) }
    case 12, 13: break
    default: bytes[index] = value
    }
  }

  /// Raises the flags for what has happened up to now.
  mutating func review(now: WallTime) {
    let time = guestTime(now)
    defer { reviewed = time.nanoseconds }
    guard time.nanoseconds > reviewed, !isHeld else { return }
    let before = WallTime(nanoseconds: reviewed)
    if time.seconds > before.seconds {
      bytes[12] |= Self.updateEnable
      if let alarm = nextAlarm(after: before.seconds), alarm <= time.seconds {
        bytes[12] |= Self.alarmEnable
      }
    }
    if let period = periodNanoseconds,
      WallTime.floor(time.nanoseconds, by: period) > WallTime.floor(reviewed, by: period)
    {
      bytes[12] |= Self.periodicEnable
    }
  }

  /// How long until an enabled interrupt is due, in nanoseconds; nil while none will be.
  func nanosecondsToInterrupt(now: WallTime) -> Int64? {
    guard !isHeld, !isInterrupting else { return nil }
    let time = guestTime(now)
    var due: [Int64] = []
    if control & Self.updateEnable != 0 {
      due.append(WallTime.nanosecondsPerSecond - time.fraction)
    }
    if control & Self.alarmEnable != 0, let alarm = nextAlarm(after: time.seconds) {
      due.append(alarm &* WallTime.nanosecondsPerSecond &- time.nanoseconds)
    }
    if control & Self.periodicEnable != 0, let period = periodNanoseconds {
      due.append(
        period
          - (time.nanoseconds &- WallTime.floor(time.nanoseconds, by: period) &* period))
    }
    return due.min()
  }

  /// What a system reset does: the time goes on, interrupts are off.
  mutating func reset() {
    index = 0
    bytes[11] &= ~(Self.periodicEnable | Self.alarmEnable | Self.updateEnable | 0x08)
    bytes[12] = 0
  }

  /// The guest's time.
  func guestTime(_ now: WallTime) -> WallTime {
    WallTime(nanoseconds: now.nanoseconds &+ offset)
  }

  // Rates 1 and 2 mean the same as 8 and 9 with this crystal.
  private var periodNanoseconds: Int64? {
    let rate = Int64(bytes[10] & 0x0f)
    if rate == 0 { return nil }
    return (1 << ((rate < 3 ? rate + 7 : rate) - 1)) * WallTime.nanosecondsPerSecond / 32_768
  }
}
