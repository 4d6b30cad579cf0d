// Both sides of a move over a faulty link in virtual time. A failure names its seed; run it alone
// with `swift run simulate --seeds 1 --from SEED`.

import Simulation
import Testing

@Suite struct `Moves over faulty links` {
  @Test(arguments: 0..<20)
  func `nothing that must not happen does`(part: UInt64) throws {
    for seed in part * 100..<(part + 1) * 100 {
      do {
        _ = try Scenario.run(seed: seed)
      } catch {
        Issue.record("seed \(seed): \(error)")
        return
      }
    }
  }

  @Test func `every way to end is met`() throws {
    var endings: Set<String> = []
    for seed in 0..<2000 as Range<UInt64> { endings.insert(try Scenario.run(seed: seed)) }
    for ending in [
      "save: kept", "save: kept, confirmed", "save: not kept: link lost",
      "save: not kept: no room",
      "restore, eager completed", "restore, eager dead", "restore, instant completed",
      "restore, instant completed, after recovery", "restore, instant failed before it ran",
      "restore, instant left waiting for damaged pages",
      "move: completed", "move: goes on here", "move: cancelled", "move: completed by postcopy",
      "move: completed by postcopy, after recovery", "move: goes on here, once looked at",
      "move: runs there, the word lost", "move: completed, the confirmation lost",
      "move: goes on here, the destination having failed",
    ] {
      #expect(endings.contains(ending), "\(ending)")
    }
  }

  @Test(arguments: Sabotage.allCases)
  func `a deliberate fault is noticed`(sabotage: Sabotage) {
    let isNoticed = (0..<400 as Range<UInt64>).contains { seed in
      (try? Scenario.run(seed: seed, sabotage: sabotage)) == nil
    }
    #expect(isNoticed)
  }

  @Test(arguments: LiveSabotage.allCases)
  func `a deliberate fault of a running machine's source is noticed`(sabotage: LiveSabotage) {
    let isNoticed = (0..<500 as Range<UInt64>).contains { seed in
      (try? LiveScenario(seed: seed, sabotage: sabotage).run()) == nil
    }
    #expect(isNoticed)
  }
}
