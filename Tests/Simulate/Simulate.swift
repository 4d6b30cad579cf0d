// Runs simulations by the million, outside the test suite:
//
//   swift run -c release simulate --seeds 1000000 --from 0

import ArgumentParser
import Simulation

@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Runs moves of a machine over faulty links in virtual time, one for each seed.")

  @Option(help: "How many seeds to run.")
  var seeds: UInt64 = 100_000

  @Option(help: "The first seed.")
  var from: UInt64 = 0

  @Option(help: "A deliberate fault of our own side, which must be noticed.")
  var sabotage: Sabotage?

  func run() throws {
    var endings: [String: Int] = [:]
    for seed in from..<(from + seeds) {
      do {
        let ending = try Scenario.run(seed: seed, sabotage: sabotage)
        endings[ending, default: 0] += 1
      } catch {
        print("seed \(seed): \(error)")
        throw ExitCode.failure
      }
      if (seed - from + 1).isMultiple(of: 100_000) { print("\(seed - from + 1) seeds") }
    }
    for (ending, count) in endings.sorted(by: { $0.value > $1.value }) {
      print("\(count)\t\(ending)")
    }
  }
}

extension Sabotage: ExpressibleByArgument {}
