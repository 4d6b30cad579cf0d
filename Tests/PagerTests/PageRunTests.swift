// What is written or let in to at once: neighbours of one block, up to a limit, and nothing else.

import Testing

@testable import Pager

@Suite struct PageRunTests {
  private let page = [UInt8](repeating: 7, count: 4096)

  private func append(_ offset: Int, _ block: Int, to run: inout PageRun) {
    page.withBytes { run.append($0, at: offset, ofBlock: block) }
  }

  @Test func `a run takes what follows it, in its block, up to its limit`() {
    var run = PageRun()
    let empty = run
    #expect(empty.takes(40960, ofBlock: 3, byteCount: 4096), "it may begin anywhere")
    append(40960, 3, to: &run)
    #expect(run.takes(45056, ofBlock: 3, byteCount: 4096))
    #expect(!run.takes(45056, ofBlock: 2, byteCount: 4096), "another block")
    #expect(!run.takes(40960, ofBlock: 3, byteCount: 4096), "the same page again")
    #expect(!run.takes(49152, ofBlock: 3, byteCount: 4096), "a gap")
    #expect(run.holds(40960, ofBlock: 3) && !run.holds(45056, ofBlock: 3))
    for index in 1..<PageRun.byteLimit / 4096 { append(40960 + index * 4096, 3, to: &run) }
    #expect(run.bytes.count == PageRun.byteLimit)
    #expect(!run.takes(40960 + PageRun.byteLimit, ofBlock: 3, byteCount: 4096), "full")
    run.removeAll()
    #expect(run.isEmpty && !run.holds(40960, ofBlock: 3))
    #expect(run.takes(0, ofBlock: 0, byteCount: 4096))
  }

  @Test func `pages that arrive in order are let in to together`() {
    var run = ArrivedRun()
    let count = ArrivedRun.byteLimit / 4096
    for index in 0..<count - 1 { #expect(run.add(index * 4096, size: 4096, ofBlock: 1) == nil) }
    #expect(
      run.add((count - 1) * 4096, size: 4096, ofBlock: 1)
        == ArrivedRun.Ready(block: 1, offsets: 0..<ArrivedRun.byteLimit))
    #expect(run.add(count * 4096, size: 4096, ofBlock: 1) == nil, "the next one begins")
  }

  @Test func `a page elsewhere ends a run, and none is forgotten`() {
    var run = ArrivedRun()
    var letIn: [Int] = []
    let arriving = [(0, 1), (1, 1), (7, 1), (8, 2), (9, 2), (3, 1), (3, 2)]
    for (page, block) in arriving {
      guard let ready = run.add(page * 4096, size: 4096, ofBlock: block) else { continue }
      letIn += ready.offsets.filter { $0 % 4096 == 0 }.map { $0 / 4096 + ready.block * 100 }
    }
    #expect(letIn == [100, 101, 107, 208, 209, 103], "all but the last")
  }
}
