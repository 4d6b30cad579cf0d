// Percentiles of how long requests took.

import Testing

@testable import MigrationEngine

@Suite struct `A summary of latencies` {
  @Test func `percentiles are right within a tenth`() {
    var histogram = LatencyHistogram()
    for microseconds in 1...1000 { histogram.record(.microseconds(microseconds)) }
    let summary = histogram.summary
    #expect(summary.count == 1000)
    #expect(summary.p50 >= .microseconds(500) && summary.p50 <= .microseconds(565))
    #expect(summary.p99 >= .microseconds(990) && summary.p99 <= .microseconds(1000))
    #expect(summary.maximum == .milliseconds(1))
  }

  @Test func `nothing and everything have places`() {
    var histogram = LatencyHistogram()
    #expect(histogram.summary == LatencySummary())
    for nanoseconds in [0, 1, 7, 8, 9, Int64.max / 2] {
      histogram.record(.nanoseconds(nanoseconds))
    }
    #expect(histogram.summary.count == 6)
    #expect(histogram.summary.p50 <= .nanoseconds(9))
  }
}
