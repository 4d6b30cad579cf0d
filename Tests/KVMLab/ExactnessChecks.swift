// Every source of dirty pages against the memory itself, by the program made for that.

import Foundation
import QEMULab

/// Runs `kvm-exactness`, a line for each source.
struct ExactnessChecks {
  let report: Report
  let program: String

  /// Runs it for some sources.
  ///
  /// - Parameters:
  ///   - sources: their names.
  ///   - rounds: how many harvests each configuration is compared for.
  func run(sources: [String], rounds: Int) {
    for source in sources {
      report.check("dirty pages by '\(source)' are those that changed") {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["--rounds", "\(rounds)", source]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(
          decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
          throw LabError("\(program) ended with \(process.terminationStatus):\n\(text)")
        }
        let lines = text.split(separator: "\n")
        if let skipped = lines.first(where: { $0.contains(": skipped: ") }) {
          throw Skipped(reason: String(skipped.split(separator: ": ", maxSplits: 2).last ?? ""))
        }
        let exact = lines.count { $0.contains(": exact, ") }
        guard exact == lines.count, exact > 0 else {
          throw LabError("it did not say 'exact' everywhere:\n\(text)")
        }
        return "\(exact) configurations of \(rounds) rounds"
      }
    }
  }
}
