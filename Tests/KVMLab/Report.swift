// One line for each check: what it was about, how it went, and why not.

import Foundation
import QEMULab

/// A check that cannot be made here.
struct Skipped: Error {
  /// What is missing.
  let reason: String
}

/// The checks so far.
///
/// Lines go to standard output as soon as a check ends.
final class Report {
  private var counts = (ok: 0, failed: 0, skipped: 0)
  private let start = Date()
  /// The exit code of a lab that failed by itself, to scripts/test-kvm.
  private static let labFailure: Int32 = 125

  /// Makes one check.
  ///
  /// - Parameters:
  ///   - name: what is true if it succeeds.
  ///   - body: makes it; what it returns is a remark for the reader, and may be empty.
  /// - Returns: whether it succeeded.
  @discardableResult
  func check(_ name: String, _ body: () throws -> String) -> Bool {
    let start = Date()
    do {
      let remark = try body()
      counts.ok += 1
      line("ok", name + (remark.isEmpty ? "" : ": " + remark), since: start)
      return true
    } catch let skipped as Skipped {
      skip(name, skipped.reason)
      return false
    } catch let failure as EmulatorFailure {
      line("failed", "\(name): \(failure)", since: start)
      print("The lab failed, not what it is for: these checks have to be made again")
      fflush(nil)
      exit(Self.labFailure)
    } catch {
      counts.failed += 1
      line("failed", "\(name): \(error)", since: start)
      return false
    }
  }

  /// Notes that a check was not made.
  func skip(_ name: String, _ reason: String) {
    counts.skipped += 1
    line("skipped", "\(name): \(reason)", since: nil)
  }

  /// Prints the sum; false where something failed or nothing was checked.
  func finish() -> Bool {
    line(
      counts.failed == 0 && counts.ok > 0 ? "ok" : "failed",
      "\(counts.ok) checks ok, \(counts.failed) failed, \(counts.skipped) skipped", since: start)
    return counts.failed == 0 && counts.ok > 0
  }

  private func line(_ verdict: String, _ text: String, since start: Date?) {
    let time = start.map { String(format: " (%.1f s)", -$0.timeIntervalSinceNow) } ?? ""
    print("\(verdict.padding(toLength: 8, withPad: " ", startingAt: 0)) \(text)\(time)")
    fflush(nil)
  }
}
