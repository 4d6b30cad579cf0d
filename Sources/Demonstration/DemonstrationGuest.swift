// The demonstration's guests: processes that run the demo guest and report on a serial port.

import DemoGuest
import Endpoints
import Foundation
import QMP

/// A guest of the demonstration: its machine's process, its monitor and what it wrote.
struct DemonstrationGuest: Sendable {
  /// Its QEMU or machine, where the demonstration started that itself.
  let process: DetachedProcess?
  let qmp: String
  let serial: String

  /// What the guest has reported, oldest first.
  var reports: [DemoGuestReport] {
    let text = (try? String(contentsOfFile: serial, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }

  private var isReady: Bool {
    let text = (try? String(contentsOfFile: serial, encoding: .utf8)) ?? ""
    return text.contains(DemoGuestReport.readyLine)
  }

  /// Waits until the guest has filled its memory.
  func waitUntilReady() async throws {
    try await wait(seconds: 60, "fill its memory") { isReady }
  }

  /// Waits until the guest has reported `count` more times than before, and says how many pages
  /// it checked meanwhile and how many it found wrong.
  func watch(reports count: Int, since before: Int) async throws -> (checked: UInt64, bad: UInt64) {
    try await wait(seconds: 60, "report on its memory") { reports.count >= before + count }
    let all = reports
    let first = before > 0 ? all[before - 1].checked : 0
    guard let last = all.last else { return (0, 0) }
    // A clone's serial port begins with its first report after the restore, so its counts go on
    // from those of the machine that was saved.
    let begin = before > 0 ? first : (all.first?.checked ?? 0)
    return (last.checked - begin, last.bad)
  }

  /// Waits until the guest has checked `pages` pages since its first report here, those `before` it
  /// was here this time left aside.
  /// - Returns: that report, which tells how long it stood still before, and its last.
  func watch(
    checking pages: UInt64, since before: Int
  ) async throws -> (first: DemoGuestReport, last: DemoGuestReport) {
    try await wait(seconds: 120, "check all of its memory") {
      let all = reports.dropFirst(before)
      guard let first = all.first, let last = all.last else { return false }
      return last.checked >= first.checked + pages
    }
    let all = reports.dropFirst(before)
    guard let first = all.first, let last = all.last else {
      throw MoveError(.failed, "The demonstration's guest took back what it had reported.")
    }
    return (first, last)
  }

  /// Waits until its monitor answers.
  func waitUntilAnswering() async throws {
    let end = ContinuousClock.now + .seconds(30)
    while true {
      do {
        return try await QMPClient.connect(to: qmp).close()
      } catch {
        let hasEnded = process?.hasEnded() ?? false
        guard ContinuousClock.now < end, !hasEnded else { throw error }
      }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  private func wait(
    seconds: Double, _ what: String, until condition: () -> Bool
  ) async throws {
    let end = ContinuousClock.now + .seconds(seconds)
    while !condition() {
      guard ContinuousClock.now < end else {
        throw MoveError(
          .failed, "The demonstration's guest did not \(what) within \(Int(seconds)) seconds.")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Ends its machine.
  func end() {
    if let process, !process.hasEnded() { process.kill() }
  }
}
