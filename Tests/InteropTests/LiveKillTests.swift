// Machines killed, cut off and left alone in the middle of a move: no machine and no byte is lost.

import Foundation
import QEMULab
import Testing

extension Interop {
  @Suite(.enabled(if: OwnMachine.isPossible, "needs /dev/kvm"))
  struct LiveKillTests {
    static let kills = Lab.isLong ? 100 : 10

    @Test(.timeLimit(.minutes(30)))
    func `a move on which something dies leaves one machine, whole`() throws {
      let godwit = try Godwit()
      var instants = SeededInstants()
      var outcomes: [String: Int] = [:]
      var (lost, bad) = (0, UInt64(0))
      for number in 0..<Self.kills {
        let plan = Self.plan(number, &instants)
        let trial = try LiveTrial(plan, godwit)
        do {
          let outcome = try trial.run()
          outcomes["\(plan.victim.rawValue) dies: \(outcome.rawValue)", default: 0] += 1
        } catch {
          lost += 1
          Issue.record(error, "seed \(instants.seed), kill \(number): \(trial.state)")
        }
        bad += trial.badPageCount
      }
      print("moves on which something died (seed \(instants.seed)):")
      for (outcome, count) in outcomes.sorted(by: { $0.key < $1.key }) {
        print("  \(count) × \(outcome)")
      }
      print("  machines lost: \(lost), wrong pages: \(bad)")
      #expect(lost == 0)
      #expect(bad == 0)
    }

    /// All kinds in turn; the instants by dice, half of them close to the switch to postcopy.
    private static func plan(
      _ number: Int, _ dice: inout SeededInstants
    ) -> LiveTrial.Plan {
      var plan = LiveTrial.Plan()
      let victims = LiveTrial.Victim.allCases
      plan.victim = victims[number % victims.count]
      plan.accelerator = number / victims.count % 3 == 2 ? "synthetic" : "kvm"
      let isPostcopy = number % 5 != 4
      if isPostcopy { plan.postcopyAfter = Double.random(in: 0...0.8, using: &dice) }
      if plan.victim == .source {
        plan.faultAfter = Double.random(in: 0...0.02, using: &dice)
      } else if let switchover = plan.postcopyAfter, Bool.random(using: &dice) {
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
