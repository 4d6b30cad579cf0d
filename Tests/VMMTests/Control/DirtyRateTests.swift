// Measuring how fast memory is dirtied.

import JSON
import QMP
import Testing

@testable import VMM

@Suite(.timeLimit(.minutes(2))) struct DirtyRateTests {
  private func measure(_ served: Served, _ arguments: JSONValue) async throws -> JSONValue {
    try await served.run("calc-dirty-rate", arguments)
    while true {
      let answer = try await served.run("query-dirty-rate", ["calc-time-unit": "millisecond"])
      if answer["status"] != "measuring" { return answer }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  @Test func `a dirty log's count becomes a rate, by vCPU where it knows them`() async throws {
    let served = try await Served()
    let fresh = try await served.run("query-dirty-rate")
    #expect(fresh["status"] == "unstarted" && fresh["dirty-rate"] == nil)
    // 2560 pages are 10 MiB, in half a second.
    let bitmap = try await measure(
      served, ["calc-time": 500, "calc-time-unit": "millisecond", "mode": "dirty-bitmap"])
    #expect(bitmap["dirty-rate"] == 20 && bitmap["calc-time"] == 500)
    #expect(bitmap["mode"] == "dirty-bitmap" && bitmap["sample-pages"] == 0)
    served.machine.state.withLock { $0.source = "ring" }
    let ring = try await measure(served, ["calc-time": 1, "mode": "dirty-ring"])
    #expect(ring["dirty-rate"] == 10)
    #expect(
      ring["vcpu-dirty-rate"] == [["id": 0, "dirty-rate": 8], ["id": 1, "dirty-rate": 2]])
  }

  @Test func `memory that does not change has a rate of nothing`() async throws {
    let served = try await Served()
    let calm = try await measure(
      served, ["calc-time": 50, "calc-time-unit": "millisecond", "sample-pages": 16384])
    #expect(calm["dirty-rate"] == 0 && calm["mode"] == "page-sampling")
    #expect(try await served.human("info dirty_rate").contains("Status: measured"))
  }

  @Test func `every page that was rewritten counts`() throws {
    let machine = ScriptedMachine()
    // 10, 8 and 8 pages of the three ranges of RAM are looked at twice.
    machine.state.withLock { $0.readsBeforeChange = 26 }
    let count = try PageSampling.count(
      in: machine, during: .milliseconds(1), samplesPerGibibyte: 16384)
    #expect(count.pageCount == 416 && count.period >= .milliseconds(1))
    // 1.625 MiB.
    let second = DirtyPageCount(pageCount: 416, period: .seconds(1))
    #expect(second.rate(ofPages: 416) == 1)
    #expect(DirtyPageCount(pageCount: 0, period: .milliseconds(100)).rate(ofPages: 416) == 16)
  }

  @Test func `orders that make no sense are refused`() async throws {
    let served = try await Served()
    func refusal(_ arguments: JSONValue) async throws -> String? {
      try await served.refusal("calc-dirty-rate", arguments)
    }
    let range = "Calculation time is out of range [50ms, 60000ms]."
    #expect(try await refusal(["calc-time": 0]) == range)
    #expect(try await refusal(["calc-time": 61]) == range)
    #expect(try await refusal(["calc-time": .integer(.max)]) == range)
    #expect(
      try await refusal(["calc-time": 1, "sample-pages": 1])
        == "sample-pages is out of range[128, 16384].")
    #expect(
      try await refusal(["calc-time": 1, "mode": "dirty-bitmap", "sample-pages": 512])
        == "sample-pages is used only in page-sampling mode")
    #expect(
      try await refusal(["calc-time": 1, "mode": "dirty-ring"])
        == "dirty ring is disabled, use sample-pages method or remeasure later.")
    // Long enough for a busy host to ask again meanwhile.
    try await served.run("calc-dirty-rate", ["calc-time": 20])
    #expect(
      try await refusal(["calc-time": 1]) == "the dirty rate is already being measured.")
  }
}
