// How fast a guest writes its memory while its writes are noticed, and while they are not.

import DemoGuest
import Devices
import DirtyTracking
import Foundation
import VMM

/// The demonstration's guest writing pages as fast as it can, by its own count.
enum DirtyingRun {
  private static let period: Duration = .milliseconds(2500)

  /// A guest's rates in pages a second.
  struct Rates {
    /// With no log.
    var unwatched: Double
    /// With its dirty log read five times a second.
    var watched: Double
  }

  /// What went wrong.
  enum Failure: Error {
    case noReports(String)
  }

  /// Runs a machine with that source of dirty pages.
  static func rates(_ source: DirtyLogKind) throws -> Rates {
    let path = NSTemporaryDirectory() + "machine-bench-\(UUID().uuidString).serial"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var configuration = MachineConfiguration(memoryByteCount: 256 << 20)
    configuration.dirtyLog = source
    configuration.serial = .file(path: path)
    var workload = MachineConfiguration.Workload()
    workload.megabytesPerSecond = 100_000
    workload.memoryMegabytes = 64
    workload.checkedMegabytesPerSecond = 0
    workload.reportMilliseconds = 100
    workload.isFilled = false
    configuration.boot = .demonstration(workload)
    let machine = try Machine(configuration)
    try machine.launch()
    defer { machine.quit() }
    try waitForReports(path)
    let unwatched = try rate(path) { Thread.sleep(forTimeInterval: period / .seconds(1)) }
    let watched = try rate(path) {
      let end = ContinuousClock.now + period
      while ContinuousClock.now < end {
        _ = try machine.countDirtyPages(during: .milliseconds(200), by: .bitmap)
      }
    }
    return Rates(unwatched: unwatched, watched: watched)
  }

  private static func waitForReports(_ path: String) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while reports(path).count < 3 {
      guard ContinuousClock.now < deadline else { throw Failure.noReports(path) }
      Thread.sleep(forTimeInterval: 0.05)
    }
  }

  /// Pages that the guest says it wrote during `body`, by its own clock.
  private static func rate(_ path: String, during body: () throws -> Void) throws -> Double {
    let first = reports(path).last
    try body()
    guard let first, let last = reports(path).last, last.t > first.t else {
      throw Failure.noReports(path)
    }
    return Double(last.written - first.written) / (last.t - first.t)
  }

  private static func reports(_ path: String) -> [DemoGuestReport] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
    return text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }
}
