// No processor runs after they were stopped.

import Synchronization
import Testing
import Transport

@testable import VMM

struct VCPUGroupTests {
  @Test(.timeLimit(.minutes(1)))
  func `when halting returns, no thread is running`() throws {
    let count = 4
    let group = VCPUGroup(count: count)
    let running = Atomic<Int>(0)
    let turns = Atomic<Int>(0)
    let threads = try (0..<count).map { index in
      try NamedThread(name: "group\(index)") {
        var isFirst = true
        while group.stand(isFirst: isFirst) {
          isFirst = false
          running.add(1, ordering: .sequentiallyConsistent)
          while group.mayRun { turns.add(1, ordering: .relaxed) }
          running.subtract(1, ordering: .sequentiallyConsistent)
        }
      }
    }
    for _ in 0..<200 {
      group.run()
      group.halt {}
      #expect(running.load(ordering: .sequentiallyConsistent) == 0)
      let before = turns.load(ordering: .relaxed)
      #expect(turns.load(ordering: .relaxed) == before)
    }
    group.end()
    for thread in threads { thread.join() }
  }

  @Test(.timeLimit(.minutes(1)))
  func `a thread that rests is woken by a halt`() throws {
    let group = VCPUGroup(count: 1)
    let thread = try NamedThread(name: "resting") {
      var isFirst = true
      while group.stand(isFirst: isFirst) {
        isFirst = false
        while group.mayRun { group.rest(.seconds(1000)) }
      }
    }
    group.run()
    group.halt {}
    group.end()
    thread.join()
  }
}
