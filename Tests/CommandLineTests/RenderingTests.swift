// Quantities, tables and progress as text.

import Endpoints
import Testing

@testable import godwit

@Suite struct RenderingTests {
  @Test(
    arguments: [
      (0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"),
      (310 << 20, "310 MiB"), (8 << 30, "8.0 GiB"), (UInt64.max, "16.0 EiB"),
    ] as [(UInt64, String)])
  func `sizes have a unit and few digits`(bytes: UInt64, text: String) {
    #expect(Units.size(bytes) == text)
  }

  @Test(
    arguments: [
      (0, "0.0 s"), (12.34, "12.3 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"),
      (.infinity, "unknown"),
    ] as [(Double, String)])
  func `times are in the unit that suits them`(seconds: Double, text: String) {
    #expect(Units.seconds(seconds) == text)
  }

  @Test func `counts are grouped and agree with their noun`() {
    #expect(Units.count(1_234_567) == "1,234,567")
    #expect(Units.count(123) == "123")
    #expect(Units.count(1, "page") == "1 page")
    #expect(Units.count(2, "page") == "2 pages")
  }

  @Test func `milliseconds become seconds where they are many`() {
    #expect(Units.milliseconds(2.06) == "2.1 ms")
    #expect(Units.milliseconds(340) == "340 ms")
    #expect(Units.milliseconds(12_500) == "12.5 s")
  }

  @Test func `a decimal that rounds to nothing has no sign`() {
    #expect(Units.decimal(-0.01, places: 1) == "0.0")
    #expect(Units.decimal(-1.25, places: 2) == "-1.25")
    #expect(Units.decimal(.nan, places: 1) == "unknown")
  }

  @Test func `columns are as wide as their widest cell`() {
    var table = Table([("NAME", .left), ("SIZE", .right)])
    table.add("web", "1 B")
    table.add("database", "12 GiB")
    #expect(table.lines == ["NAME        SIZE", "web          1 B", "database  12 GiB"])
  }

  private let sample = MoveProgress(
    phase: .memory, bytesDone: 1 << 30, bytesTotal: 4 << 30, bytesPerSecond: Double(310 << 20),
    dirtyPages: 12_345, secondsLeft: 9.9)

  @Test func `a line tells bytes, rate, dirty pages and time left`() {
    #expect(
      Progress(sample).line
        == "memory: 25 %, 1.0 GiB of 4.0 GiB, 310 MiB/s, 12,345 dirty pages, 9.9 s left")
  }

  @Test(arguments: [1, 20, 72, 80, 200])
  func `a bar never reaches the last column`(width: Int) {
    #expect(Progress(sample).bar(width: width).count < max(width, 1) || width == 1)
  }

  @Test func `a bar fills with the fraction done`() {
    let bar = Progress(sample).bar(width: 200)
    #expect(bar.hasPrefix("[" + String(repeating: "=", count: 7) + " "))
    #expect(
      Progress(sample).bar(width: 80)
        == "[===         ] 25 %, 1.0 GiB of 4.0 GiB, 310 MiB/s, 12,345 dirty, 9.9 s left")
  }

  @Test func `progress beyond the announced size is not more than all`() {
    let progress = Progress(MoveProgress(phase: .memory, bytesDone: 9 << 30, bytesTotal: 4 << 30))
    #expect(progress.fraction == 1)
    #expect(progress.line.contains("100 %"))
  }

  @Test func `progress is shown at each change of phase and otherwise now and then`() {
    var pacing = ProgressPacing(interval: .seconds(2))
    let samples: [(phase: String, second: Int)] = [
      ("memory", 0), ("memory", 1), ("sealing", 1), ("sealing", 2), ("sealing", 3),
    ]
    let shown = samples.map { pacing.admits($0.phase, at: .seconds($0.second)) }
    #expect(shown == [true, false, true, false, true])
  }

  @Test func `quick work passes without a word`() {
    var pacing = ProgressPacing(interval: .seconds(2), delay: .seconds(2))
    let shown = [0, 1, 2, 3, 4].map { pacing.admits("memory", at: .seconds($0)) }
    #expect(shown == [false, false, true, false, true])
  }
}
