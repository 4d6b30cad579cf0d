// The clock: dates, setting it, alarms, interrupts.

import Synchronization
import Testing

@testable import Devices

private let second = WallTime.nanosecondsPerSecond

struct ClockDateTests {
  @Test(arguments: [
    (0, 1970, 1, 1, 5), (951_782_400, 2000, 2, 29, 3), (1_763_683_200, 2025, 11, 21, 6),
    (4_102_444_800, 2100, 1, 1, 6), (-86_400, 1969, 12, 31, 4),
  ])
  func `a time has its date`(seconds: Int64, year: Int, month: Int, day: Int, weekday: Int) {
    let date = ClockDate(secondsSinceEpoch: seconds)
    #expect((date.year, date.month, date.day) == (year, month, day))
    #expect(date.weekday == weekday)
    #expect(date.secondsSinceEpoch == seconds)
  }

  @Test func `every time comes back from its date`() {
    var numbers = SeededNumbers(seed: 3)
    for _ in 0..<2000 {
      let seconds = Int64.random(in: -60_000_000_000...250_000_000_000, using: &numbers)
      #expect(ClockDate(secondsSinceEpoch: seconds).secondsSinceEpoch == seconds)
    }
  }
}

struct ClockRegistersTests {
  /// 2026-11-21 13:45:59 UTC, and half a second.
  private let start = WallTime(nanoseconds: 1_795_268_759 * second + second / 2)

  private func after(_ seconds: Int64) -> WallTime {
    WallTime(nanoseconds: start.nanoseconds + seconds * second)
  }

  private func read(_ registers: inout ClockRegisters, _ index: UInt8, at time: WallTime) -> UInt8 {
    registers.index = index
    return registers.read(now: time)
  }

  private func write(
    _ registers: inout ClockRegisters, _ index: UInt8, _ value: UInt8, at time: WallTime
  ) {
    registers.index = index
    registers.write(value, now: time)
  }

  @Test func `it shows the host's date in decimal digits`() {
    var registers = ClockRegisters(now: start)
    let shown = [0, 2, 4, 7, 8, 9, 0x32].map { read(&registers, $0, at: start) }
    #expect(shown == [0x59, 0x45, 0x13, 0x21, 0x11, 0x26, 0x20])
    #expect(read(&registers, 6, at: start) == 7, "a Saturday")
    #expect(read(&registers, 13, at: start) == 0x80)
  }

  @Test func `it can count in binary and in twelve hours`() {
    var registers = ClockRegisters(now: start)
    write(&registers, 11, ClockRegisters.binaryMode, at: start)
    #expect(read(&registers, 4, at: start) == 0x81, "one in the afternoon")
    #expect(read(&registers, 0, at: start) == 59)
  }

  @Test func `setting it the way Linux does takes, and runs on`() {
    var registers = ClockRegisters(now: start)
    write(&registers, 11, 0x82, at: start)
    write(&registers, 10, 0x76, at: start)
    for (index, value) in [
      (9, 0x30), (8, 0x02), (7, 0x28), (4, 0x23), (2, 0x59), (0, 0x58), (0x32, 0x20),
    ] as [(UInt8, UInt8)] { write(&registers, index, value, at: start) }
    #expect(read(&registers, 0, at: after(5)) == 0x58, "it stands still while it is set")
    write(&registers, 11, 0x02, at: after(5))
    write(&registers, 10, 0x26, at: after(5))
    let shown = [0, 2, 4, 7, 8, 9].map { read(&registers, $0, at: after(8)) }
    #expect(shown == [0x01, 0x00, 0x00, 0x01, 0x03, 0x30])
  }

  @Test func `the update flag is there before each second, and afterwards`() {
    var registers = ClockRegisters(now: start)
    let late = WallTime(nanoseconds: start.nanoseconds + second / 2 - 100_000)
    #expect(read(&registers, 10, at: start) == 0x26)
    #expect(read(&registers, 10, at: late) == 0xa6)
    #expect(read(&registers, 12, at: late) & 0x10 == 0)
    #expect(read(&registers, 12, at: after(1)) & 0x10 == 0x10)
    #expect(read(&registers, 12, at: after(1)) == 0, "reading clears it")
  }

  @Test func `an alarm rings at its time, wildcards for any`() {
    var registers = ClockRegisters(now: start)
    for (index, value) in [(1, 0x05), (3, 0xc0), (5, 0xff)] as [(UInt8, UInt8)] {
      write(&registers, index, value, at: start)
    }
    write(&registers, 11, 0x22, at: start)
    #expect(registers.nanosecondsToInterrupt(now: start) == 6 * second - second / 2)
    registers.review(now: after(5))
    #expect(!registers.isInterrupting)
    registers.review(now: after(6))
    #expect(registers.isInterrupting)
    #expect(read(&registers, 12, at: after(6)) & 0xb0 == 0xb0)
    write(&registers, 5, 0x77, at: after(6))
    #expect(registers.nextAlarm(after: 0) == nil, "an hour that never comes")
  }

  @Test func `an alarm is found as by counting seconds`() {
    var numbers = SeededNumbers(seed: 11)
    var registers = ClockRegisters(now: start)
    for _ in 0..<30 {
      let alarm = [23, 59, 59].map {
        Bool.random(using: &numbers) ? UInt8(0xc0) : UInt8.random(in: 0...$0, using: &numbers)
      }
      registers.bytes[11] = ClockRegisters.binaryMode | ClockRegisters.fullDay
      (registers.bytes[5], registers.bytes[3], registers.bytes[1]) = (alarm[0], alarm[1], alarm[2])
      let from = Int64.random(in: 0..<172_800, using: &numbers)
      let expected = ((from + 1)...(from + 86_400)).first { time in
        let ofDay = Int(time % 86_400)
        return zip(alarm, [ofDay / 3600, ofDay / 60 % 60, ofDay % 60]).allSatisfy {
          $0 == 0xc0 || Int($0) == $1
        }
      }
      #expect(registers.nextAlarm(after: from) == expected)
    }
  }

  @Test func `a state of any bytes neither traps nor hangs`() {
    var numbers = SeededNumbers(seed: 5)
    for _ in 0..<3000 {
      var registers = ClockRegisters(now: start)
      registers.bytes = registers.bytes.map { _ in UInt8.random(in: 0...255, using: &numbers) }
      registers.offset = Int64(bitPattern: numbers.next())
      registers.reviewed = Int64(bitPattern: numbers.next())
      for _ in 0..<8 {
        registers.index = UInt8.random(in: 0..<128, using: &numbers)
        if Bool.random(using: &numbers) {
          _ = registers.read(now: start)
        } else {
          registers.write(UInt8.random(in: 0...255, using: &numbers), now: start)
        }
        _ = registers.nanosecondsToInterrupt(now: start)
      }
    }
  }
}

struct RealTimeClockTests {
  @Test func `a periodic interrupt comes until it is switched off`() throws {
    let probe = LineProbe()
    let clock = try RealTimeClock(line: probe.line)
    clock.resume()
    defer { clock.quiesce() }
    func write(_ index: UInt32, _ value: UInt32) {
      clock.write(port: 0, byteCount: 1, value: index)
      clock.write(port: 1, byteCount: 1, value: value)
    }
    write(11, 0x42)
    for count in 1...3 {
      eventually("interrupt \(count)") { probe.level }
      clock.write(port: 0, byteCount: 1, value: 12)
      #expect(clock.read(port: 1, byteCount: 1) & 0xc0 == 0xc0)
    }
    #expect(probe.riseCount >= 3)
    clock.reset()
    #expect(!probe.level)
  }

  @Test func `a clock that was set moves with its time`() throws {
    let now = Mutex(WallTime(nanoseconds: 1_000_000 * second))
    let source = try RealTimeClock(line: LineProbe().line, clock: { now.withLock { $0 } })
    source.state.withLock { $0.registers.offset = 77 * second }
    source.write(port: 0, byteCount: 1, value: 0)
    let target = try RealTimeClock(
      line: LineProbe().line, clock: { WallTime(nanoseconds: 1_000_010 * second) })
    try move(from: source, to: target)
    let time = target.state.withLock { $0.registers.guestTime(WallTime(nanoseconds: 5 * second)) }
    #expect(time.seconds == 82)
  }

  @Test func `contents are those it was made with`() throws {
    let clock = try RealTimeClock(line: LineProbe().line, contents: [0x34: 7, 3: 9, 500: 1])
    clock.write(port: 0, byteCount: 1, value: 0x34)
    #expect(clock.read(port: 1, byteCount: 1) == 7)
  }
}
