// Machines killed, cut off and left alone in the middle of a move: no machine and no byte is lost.

import Foundation
import QEMULab
import Synchronization
import Testing

extension Interop {
  @Suite(.enabled(if: OwnMachine.isPossible, "needs /dev/kvm"))
  struct LiveKillTests {
    static let kills = Lab.isLong ? 100 : 10
    /// Trials wait more than they compute.
    private static let threads = 4

    /// What became of all trials.
    private struct Results {
      var next = 0
      var outcomes: [String: Int] = [:]
      var failures: [String] = []
      var bad: UInt64 = 0
    }

    @Test(.timeLimit(.minutes(15)))
    func `a move on which something dies leaves one machine, whole`() throws {
      var instants = SeededInstants(unlessGiven: 20_260_101)
      let plans = (0..<Self.kills).map { Self.plan($0, &instants) }
      let seed = instants.seed
      let all = Self.run(plans)
      print("moves on which something died (seed \(seed)):")
      for (outcome, count) in all.outcomes.sorted(by: { $0.key < $1.key }) {
        print("  \(count) × \(outcome)")
      }
      print("  machines lost: \(all.failures.count), wrong pages: \(all.bad)")
      for failure in all.failures { Issue.record("seed \(seed), \(failure)") }
      #expect(all.bad == 0)
    }

    private static func run(_ plans: [LiveTrial.Plan]) -> Results {
      let shared = Shared()
      let done = DispatchGroup()
      for _ in 0..<threads {
        done.enter()
        Thread.detachNewThread {
          while let number = shared.results.withLock({ results -> Int? in
            guard results.next < plans.count else { return nil }
            defer { results.next += 1 }
            return results.next
          }) {
            run(plans[number], number, shared)
          }
          done.leave()
        }
      }
      done.wait()
      return shared.results.withLock { $0 }
    }

    private final class Shared: Sendable {
      let results = Mutex(Results())
    }

    private static func run(_ plan: LiveTrial.Plan, _ number: Int, _ shared: Shared) {
      do {
        let trial = try LiveTrial(plan, Godwit())
        do {
          let outcome = try trial.run()
          let bad = trial.badPageCount
          shared.results.withLock { results in
            results.outcomes["\(plan.name): \(outcome.rawValue)", default: 0] += 1
            results.bad += bad
          }
        } catch {
          throw LabError("\(error); \(trial.state)")
        }
      } catch {
        shared.results.withLock { $0.failures.append("trial \(number): \(error)") }
      }
    }

    /// All kinds in turn; the instants by dice, half of them close to the switch to postcopy.
    private static func plan(
      _ number: Int, _ dice: inout SeededInstants
    ) -> LiveTrial.Plan {
      var plan = LiveTrial.Plan()
      let victims = LiveTrial.Victim.allCases
      let turn = number / victims.count
      plan.victim = victims[number % victims.count]
      plan.accelerator = turn % 3 == 2 ? "synthetic" : "kvm"
      plan.standsStill = turn % 4 == 1
      switch turn % 5 {
      case 0, 3: plan.postcopyAfter = Double.random(in: 0...0.8, using: &dice)
      case 2: plan.postcopyAfter = 0
      default: break
      }
      plan.usesPreempt = plan.postcopyAfter != nil && (number + turn / 2) % 2 == 0
      if let switchover = plan.postcopyAfter, Bool.random(using: &dice) {
        plan.faultAfter = switchover + Double.random(in: 0...0.1, using: &dice)
      } else {
        plan.faultAfter = Double.random(in: 0...2, using: &dice)
      }
      plan.furtherFaults = (0..<Int.random(in: 0...2, using: &dice)).map { _ in
        Double.random(in: 0...0.3, using: &dice)
      }
      return plan
    }
  }
}
