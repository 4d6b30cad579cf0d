// What a lab guest says on its serial port, and whether that is as it should be.

import DemoGuest
import Foundation

extension LabGuest {
  /// Everything the serial port has said to this QEMU.
  public var serialText: String {
    (try? String(decoding: Data(contentsOf: URL(fileURLWithPath: serialPath)), as: UTF8.self))
      ?? ""
  }

  /// The whole report lines so far, oldest first.
  ///
  /// A line that a move tore in two is none.
  public var reports: [DemoGuestReport] {
    var lines = serialText.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    // The last one may still be on its way, and look whole all the same ("gap=1" of "gap=1.3").
    _ = lines.popLast()
    return lines.compactMap { DemoGuestReport(line: $0) }
  }

  /// Waits until a condition holds, looking at it every few milliseconds.
  public func wait(
    for what: String, seconds: Double = 30, until isMet: () throws -> Bool
  ) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !isMet() {
      guard isRunning else {
        throw LabError("QEMU died while waiting for \(what): \(log)")
      }
      guard Date() < deadline else {
        let status = (try? qmp.execute("query-status"))?["status"]?.string ?? "unknown"
        throw LabError(
          """
          no \(what) within \(seconds) s from \(configuration.qemu) \(configuration.machine); \
          status \(status), serial output ends: \(serialText.suffix(400)) \(log)
          """)
      }
      usleep(10_000)
    }
  }

  /// Waits until the guest's memory is filled and its reports begin.
  public func waitUntilReady(seconds: Double = 60) throws {
    try wait(for: DemoGuestReport.readyLine, seconds: seconds) {
      serialText.contains(DemoGuestReport.readyLine)
    }
  }

  /// Waits for some more reports and returns the last of them.
  @discardableResult
  public func waitForReports(_ count: Int = 1, seconds: Double = 30) throws -> DemoGuestReport {
    let before = reports.count
    try wait(for: "\(count) more reports", seconds: seconds) { reports.count >= before + count }
    guard let last = reports.last else { throw LabError("the serial file shrank") }
    return last
  }

  /// Waits for reports that show a guest at work and whole: its clock goes on, its writer and
  /// its checker go on, and no report so far counts a bad page.
  ///
  /// - Parameters:
  ///   - earlier: a report that these must continue, of the machine before its move.
  ///   - count: how many reports to wait for, at least 2.
  ///   - checkedPages: how many pages it must have checked since the first of those reports.
  @discardableResult
  public func requireHealth(
    continuing earlier: DemoGuestReport? = nil, reports count: Int = 2, checkedPages: UInt64 = 1,
    seconds: Double = 60
  ) throws -> DemoGuestReport {
    let first = try waitForReports(1, seconds: seconds)
    var last = try waitForReports(max(count, 2) - 1, seconds: seconds)
    while last.bad == 0, last.checked < first.checked + checkedPages {
      last = try waitForReports(1, seconds: seconds)
    }
    if let broken = reports.first(where: { $0.bad != 0 }) {
      throw LabError("the guest found \(broken.bad) bad pages at t=\(broken.t)")
    }
    guard last.t > first.t, last.checked > first.checked, last.written >= first.written else {
      throw LabError("the guest stands still: \(first) then \(last)")
    }
    if let earlier {
      guard let began = reports.first, began.t >= earlier.t, began.written >= earlier.written,
        began.checked >= earlier.checked
      else {
        throw LabError("the guest did not carry on: \(earlier) before its move, \(reports) after")
      }
    }
    if serialText.contains("MEMGUEST-FAILED") {
      throw LabError("the guest failed: \(serialText.suffix(400))")
    }
    return last
  }
}
