// The demonstration's guests: QEMU processes that run the demo guest and report on a serial port.

import DemoGuest
import Endpoints
import Foundation

/// A guest of the demonstration: its QEMU, its monitor and what it wrote.
struct DemonstrationGuest: Sendable {
  /// Its QEMU, where the demonstration started that itself.
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

  /// Ends its QEMU.
  func end() {
    if let process, !process.hasEnded() { process.kill() }
  }
}
