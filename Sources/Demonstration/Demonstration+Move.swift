// A machine of Godwit's own that moves to another process while its guest writes, and back.

import DemoGuest
import Endpoints
import Foundation

extension Demonstration {
  /// How much of its memory the guest rewrites meanwhile, in MiB a second.
  private static let rewrittenMegabytes = 5
  /// How long the machine may stand still, as far as that can be planned.
  private static let downtimeLimitMilliseconds: UInt64 = 30
  private static let pageByteCount: UInt64 = 4096

  /// What runs Godwit's own machines here.
  var accelerator: String {
    let isUsable =
      FileManager.default.isReadableFile(atPath: "/dev/kvm")
      && FileManager.default.isWritableFile(atPath: "/dev/kvm")
    return isUsable ? "kvm" : "synthetic"
  }

  /// Moves a running machine to a second process, and back into what it left behind in the first.
  func moveThereAndBack(_ report: inout DemonstrationReport) async throws {
    if accelerator == "synthetic" {
      observer.note(
        "This user cannot open /dev/kvm: a thread of the host does the guest's work in Godwit's "
          + "own machines (--accel synthetic).")
    }
    observer.note("Starting a machine of Godwit's own, and one that waits for it.")
    let first = try startMachine("here", isIncoming: false)
    defer { first.end() }
    let second = try startMachine("there", isIncoming: true)
    defer { second.end() }
    try await first.waitUntilReady()
    let there = try await move(first, to: second, "move a running machine", &report)
    let back = try await move(second, to: first, "move it back", &report)
    report.steps += [there, back]
    if let sent = there.sentBytes, let returned = back.sentBytes, sent > 0 {
      report.returnShare = Double(returned) / Double(sent)
    }
  }

  private func startMachine(_ name: String, isIncoming: Bool) throws -> DemonstrationGuest {
    let guest = (qmp: path("\(name).qmp"), serial: path("\(name).serial"))
    let arguments =
      options.godwit.dropFirst() + [
        "vm", "run", "--demo-guest", "--memory", "\(options.memoryMegabytes)M", "--accel",
        accelerator, "--demo-rate", "\(Self.rewrittenMegabytes)", "--demo-check",
        "\(options.memoryMegabytes)", "--serial", "file:\(guest.serial)", "--qmp", guest.qmp,
      ] + (isIncoming ? ["--incoming", "defer"] : [])
    let process = try DetachedProcess.start(
      options.godwit[0], arguments: Array(arguments), logPath: path("\(name).log"))
    return DemonstrationGuest(process: process, qmp: guest.qmp, serial: guest.serial)
  }

  /// Moves a machine, and has its guest check every page where it then is.
  private func move(
    _ source: DemonstrationGuest, to destination: DemonstrationGuest, _ title: String,
    _ report: inout DemonstrationReport
  ) async throws -> DemonstrationReport.Step {
    try await destination.waitUntilAnswering()
    observer.note("Moving it while its guest writes: \(title).")
    let before = destination.reports.count
    let result = try await Operations.migrate(
      MigrateRequest(
        source: source.qmp, destination: .local(destination.qmp),
        downtimeLimitMilliseconds: Self.downtimeLimitMilliseconds), observer: observer)
    let reports = try await destination.watch(
      checking: report.memoryBytes / Self.pageByteCount, since: before)
    report.pagesBad += reports.last.bad
    return DemonstrationReport.Step(
      title: title, downtimeMilliseconds: result.downtimeMilliseconds,
      gapMilliseconds: reports.first.gapMilliseconds, sentBytes: result.wireBytes,
      pagesChecked: reports.last.checked - reports.first.checked, seconds: result.seconds)
  }
}
