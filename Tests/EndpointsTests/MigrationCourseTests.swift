// The recorded course of a move: whole where it is short, thinned out where it is long.

import Testing

@testable import Endpoints

@Suite struct MigrationCourseTests {
  static func sample(
    _ seconds: Double, round: UInt64 = 1, wire: UInt64 = 0, left: UInt64 = 0, normal: UInt64 = 0,
    zero: UInt64 = 0, dirty: Double? = nil
  ) -> MigrationCourse.Sample {
    MigrationCourse.Sample(
      seconds: seconds, status: "active", round: round, wireBytes: wire, remainingBytes: left,
      bytesPerSecond: 1, dirtyBytesPerSecond: dirty, zeroPages: zero, normalPages: normal,
      pageRequests: 0, expectedDowntimeMilliseconds: nil, throttlePercentage: 0)
  }

  @Test func `a long move takes no more room than a short one`() throws {
    var course = MigrationCourse()
    for index in 0..<100_000 {
      course.add(Self.sample(Double(index)))
      course.add(MigrationCourse.Event(seconds: Double(index), end: .source, name: "STOP"))
    }
    #expect(course.samples.count <= MigrationCourse.sampleLimit)
    #expect(course.samples.count > MigrationCourse.sampleLimit / 4)
    #expect(course.samples.first?.seconds == 0)
    #expect(course.samples.last?.seconds == 99_999)
    #expect(zip(course.samples, course.samples.dropFirst()).allSatisfy { $0.seconds < $1.seconds })
    #expect(course.events.count <= MigrationCourse.eventLimit)
    #expect(course.events.count > MigrationCourse.eventLimit / 2)
    #expect(course.events.first?.seconds == 0)
    #expect(course.events.last?.seconds == 99_999)
  }

  @Test func `rounds without end leave what else happened`() {
    var course = MigrationCourse()
    func add(_ seconds: Double, _ name: String) {
      course.add(MigrationCourse.Event(seconds: seconds, end: .source, name: name))
    }
    add(0, "MIGRATION setup")
    for index in 1...2000 { add(Double(index), "MIGRATION_PASS \(index)") }
    for name in ["STOP", "MIGRATION completed"] { add(3000, name) }
    #expect(
      course.events.filter { !$0.isPass }.map(\.name)
        == ["MIGRATION setup", "STOP", "MIGRATION completed"])
    #expect(course.events.count > MigrationCourse.eventLimit / 2)
    #expect(course.events.first { $0.isPass }?.seconds == 1)
    #expect(course.events.last { $0.isPass }?.seconds == 2000)
    #expect(course.events.map(\.seconds) == course.events.map(\.seconds).sorted())
  }
}
