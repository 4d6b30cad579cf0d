// When requests count as few.

import Testing

@testable import MigrationEngine

@Suite struct RequestPaceTests {
  private let start = ContinuousClock.now

  /// A guest that has asked `count` times, `interval` apart.
  private func pace(_ count: Int, every interval: Duration) -> RequestPace {
    var pace = RequestPace()
    for number in 0..<count { pace.note(start + interval * number) }
    return pace
  }

  @Test func `a guest that has not asked yet may ask for anything at once`() {
    #expect(!RequestPace().areFew(at: start + .seconds(10)))
  }

  @Test func `one request upon another are many, until they end or grow seldom`() {
    var pace = pace(100, every: .microseconds(200))
    let last = start + .microseconds(200) * 99
    #expect(!pace.areFew(at: last + .microseconds(300)))
    #expect(pace.areFew(at: last + .milliseconds(2)), "whatever they were before")
    for number in 1...20 { pace.note(last + .milliseconds(3) * number) }
    #expect(pace.areFew(at: last + .milliseconds(60)))
    // A burst counts before it is over.
    for number in 1...40 { pace.note(last + .milliseconds(60) + .microseconds(50) * number) }
    #expect(!pace.areFew(at: last + .milliseconds(62) + .microseconds(10)))
  }

  @Test func `a long pause is forgotten as soon as a burst has begun`() {
    var pace = pace(20, every: .microseconds(200))
    let burst = start + .seconds(100)
    for number in 0..<30 { pace.note(burst + .microseconds(100) * number) }
    #expect(!pace.areFew(at: burst + .milliseconds(3)))
  }

  @Test func `a clock that two threads read never makes an interval negative`() {
    var pace = pace(50, every: .microseconds(100))
    pace.note(start)
    #expect(!pace.areFew(at: start))
  }
}
