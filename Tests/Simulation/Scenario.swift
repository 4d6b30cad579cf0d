// Which kind of scenario a seed stands for.

/// A simulated move.
public enum Scenario {
  /// Runs the scenario of `seed` and says how it ended.
  /// - Throws: `Violation` if anything happened that must not.
  public static func run(seed: UInt64, sabotage: Sabotage? = nil) throws -> String {
    if sabotage == nil {
      // Every other one moves a running machine.
      if seed % 2 == 1 { return try "move: " + LiveScenario(seed: seed).run() }
      switch seed / 2 % 8 {
      case 0: return try "save: " + RecordingScenario(seed: seed).run()
      case 1: return try "restore, " + EagerScenario(seed: seed).run()
      default: break
      }
    }
    let summary = try PostcopyScenario(seed: seed, sabotage: sabotage).run()
    return "restore, instant \(summary.ending)"
      + (summary.connections > 1 ? ", after recovery" : "")
  }
}
