// When a move ends, by its figures; and that one without an end is told as such, with what helps.

import JSON
import QMP
import Testing

@testable import Endpoints

@Suite struct MigrationForecastTests {
  static let megabyte = 1 << 20

  private func pace(
    left: Int, rate: Int, dirty: Int? = nil, pass: Int? = nil, before: Int? = nil,
    limit: Double? = 0.1, allowed: Int? = nil
  ) -> MigrationPace {
    func bytes(_ megabytes: Int) -> Double { Double(megabytes * Self.megabyte) }
    return MigrationPace(
      remainingBytes: UInt64(left * Self.megabyte), bytesPerSecond: bytes(rate),
      dirtyBytesPerSecond: dirty.map(bytes), passBytes: UInt64((pass ?? left) * Self.megabyte),
      previousPassBytes: before.map { UInt64($0 * Self.megabyte) }, downtimeLimitSeconds: limit,
      limitBytesPerSecond: allowed.map { UInt64($0 * Self.megabyte) })
  }

  private func seconds(_ pace: MigrationPace) throws -> Double {
    try #require(MigrationForecast(pace).seconds)
  }

  private func sentence(_ pace: MigrationPace) throws -> String {
    guard case .never(let sentence) = MigrationForecast(pace) else {
      Issue.record("\(MigrationForecast(pace))")
      return ""
    }
    return sentence
  }

  @Test func `nothing is foretold while nothing moves`() {
    #expect(MigrationForecast(pace(left: 100, rate: 0)) == .unknown)
  }

  @Test func `a machine that stands still takes as long as its memory`() throws {
    #expect(try seconds(pace(left: 100, rate: 50, dirty: 500, limit: nil)) == 2)
    #expect(try seconds(pace(left: 100, rate: 50)) == 2)
  }

  @Test func `passes shrink by the ratio of writing to sending`() throws {
    // 100, 50, 25, 12.5 fits 0.1 s at 100 MiB a second only from 10 on: 100+50+25+12.5 and a bit.
    let time = try seconds(pace(left: 100, rate: 100, dirty: 50))
    #expect(time > 1.7 && time < 2.0, "\(time)")
  }

  @Test func `what fits the downtime is sent at once, however fast the guest writes`() throws {
    #expect(try seconds(pace(left: 9, rate: 100, dirty: 900)) == 0.09)
  }

  @Test func `a guest that writes faster than is sent has no end`() throws {
    let said = try sentence(pace(left: 50, rate: 100, dirty: 200, pass: 80, allowed: 100))
    #expect(said.contains("will not converge"))
    #expect(said.contains("--bandwidth above 250 MiB"))
    #expect(said.contains("--downtime of 800 ms"))
    #expect(said.contains("--postcopy"))
  }

  @Test func `without a limit of ours a faster link is named instead`() throws {
    let said = try sentence(pace(left: 50, rate: 100, dirty: 200))
    #expect(said.contains("faster link"))
    #expect(!said.contains("--bandwidth"))
  }

  @Test func `passes of one size have no end though the guest seems slow enough`() throws {
    let said = try sentence(
      pace(left: 50, rate: 100, dirty: 90, pass: 120, before: 121, allowed: 100))
    #expect(said.contains("120 MiB to send"))
    #expect(said.contains("several times higher"))
    #expect(
      try seconds(pace(left: 50, rate: 100, dirty: 90, pass: 60, before: 120)) < 2,
      "passes that halve end soon")
  }

  @Test func `a downtime of 0 has an end only for a guest that does not write`() throws {
    #expect(try sentence(pace(left: 50, rate: 100, dirty: 1, limit: 0)).contains("downtime of 0"))
    #expect(MigrationForecast(pace(left: 50, rate: 100, limit: 0)).seconds == 0.5)
  }

  // MARK: - The meter

  private func answer(
    _ status: String, sent: Int, left: Int, round: Int, dirty: Int = 0
  ) -> MigrationInfo {
    MigrationInfo([
      "status": .string(status),
      "ram": [
        "transferred": JSONValue(sent << 20), "remaining": JSONValue(left << 20),
        "total": JSONValue(1000 << 20), "duplicate": 0, "normal": JSONValue(sent << 8),
        "dirty-pages-rate": JSONValue(dirty << 8), "dirty-sync-count": JSONValue(round),
        "page-size": 4096,
      ],
    ])
  }

  @Test func `the rate is that of the last half second`() {
    var meter = MigrateMeter(downtimeLimitSeconds: 0.3, limitBytesPerSecond: nil)
    for tenth in 0...20 {
      // 100 MiB a second, and 10 after the first second.
      let sent = tenth <= 10 ? tenth * 10 : 100 + (tenth - 10)
      let reading = meter.read(
        answer("active", sent: sent, left: 1000 - sent, round: 1), at: Double(tenth) / 10)
      let rate = reading.sample.bytesPerSecond / Double(1 << 20)
      if tenth == 10 { #expect(abs(rate - 100) < 1, "\(rate)") }
      if tenth == 20 { #expect(abs(rate - 10) < 1, "\(rate)") }
      #expect(reading.sample.dirtyBytesPerSecond == nil, "none is known in the first pass")
    }
  }

  @Test func `the person is told once that there is no end, when that has stood for a while`() {
    var meter = MigrateMeter(downtimeLimitSeconds: 0.01, limitBytesPerSecond: nil)
    var notes: [(Double, String)] = []
    for tenth in 0...100 {
      let reading = meter.read(
        answer("active", sent: tenth * 10, left: 500 - tenth % 30 * 10, round: 3, dirty: 300),
        at: Double(tenth) / 10)
      if let note = reading.note { notes.append((Double(tenth) / 10, note)) }
    }
    #expect(notes.count == 1, "\(notes)")
    #expect(notes.first.map { $0.0 >= 2 } == true)
  }

  @Test func `a source that goes faster than it was told is told of`() {
    var meter = MigrateMeter(downtimeLimitSeconds: 0.3, limitBytesPerSecond: 10)
    let notes = (0...40).compactMap { tenth in
      meter.read(
        answer("active", sent: tenth, left: 1000, round: 1), at: Double(tenth) / 10
      ).note
    }
    #expect(notes.count == 1)
    #expect(notes.first?.contains("10 B") == true)
  }

  @Test func `in postcopy there is no rate of dirtying and always an end`() {
    var meter = MigrateMeter(downtimeLimitSeconds: 0.01, limitBytesPerSecond: nil)
    _ = meter.read(answer("postcopy-active", sent: 0, left: 500, round: 3, dirty: 900), at: 0)
    let reading = meter.read(
      answer("postcopy-active", sent: 100, left: 400, round: 3, dirty: 900), at: 1)
    #expect(reading.sample.dirtyBytesPerSecond == nil)
    #expect(reading.progress.phase == .running)
    #expect(reading.progress.secondsLeft == 4)
  }

  @Test func `the first moments tell of no end`() {
    var meter = MigrateMeter(downtimeLimitSeconds: 0.3, limitBytesPerSecond: nil)
    _ = meter.read(answer("active", sent: 0, left: 1000, round: 1), at: 0)
    let early = meter.read(answer("active", sent: 1, left: 999, round: 1), at: 0.01)
    #expect(early.progress.secondsLeft == nil)
    let later = meter.read(answer("active", sent: 100, left: 900, round: 1), at: 0.25)
    #expect(later.progress.secondsLeft != nil)
  }

  @Test func `a guest that writes has no end with a downtime of 0, however little is left`() {
    #expect(MigrationForecast(pace(left: 0, rate: 100, dirty: 1, limit: 0)).seconds == nil)
  }

  @Test func `a machine that has gone stays gone at the end`() {
    var meter = MigrateMeter(downtimeLimitSeconds: nil, limitBytesPerSecond: nil)
    let phases = ["active", "postcopy-active", "completed"].enumerated().map { index, status in
      meter.read(answer(status, sent: index, left: 2 - index, round: 1), at: Double(index))
        .progress.phase
    }
    #expect(phases == [.memory, .running, .running])
  }

  @Test(
    arguments: [
      ("active", 50, nil, "s, with 50 MiB left to send"), ("device", 0, nil, "has not confirmed"),
      ("active", 50, 1, nil), ("completed", 0, nil, nil),
    ] as [(String, Int, UInt64?, String?)])
  func `where nothing moves the person is told, now and then`(
    status: String, left: Int, limit: UInt64?, expected: String?
  ) {
    var meter = MigrateMeter(downtimeLimitSeconds: 0.3, limitBytesPerSecond: limit)
    let notes = (0...300).compactMap { tenth in
      meter.read(answer(status, sent: 7, left: left, round: 1), at: Double(tenth) / 10).note
    }
    #expect(notes.count == (expected == nil ? 0 : 1), "\(notes)")
    if let expected { #expect(notes.first?.contains(expected) == true, "\(notes)") }
  }
}
