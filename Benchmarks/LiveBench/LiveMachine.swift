// A machine of the benchmark: a process with the demo guest in it, or one that waits for it.

import DemoGuest
import Endpoints
import Foundation
import QMP

/// A process that holds a machine, with its monitor and its guest's serial port.
final class LiveMachine {
  let client: QMPClient
  private let process: DetachedProcess
  private let serial: String

  /// What the guest of a machine does.
  struct Work {
    /// How much memory there is, in MiB.
    var megabytes: Int
    /// How much of it the guest uses, in MiB; 0 for all there is.
    var usedMegabytes = 0
    /// How much of it is rewritten, in MiB a second.
    var rate = 0
    /// How much of it is checked, in MiB a second.
    var check = 64
    /// How much of it is declared free, in percent.
    var freePercent = 0
  }

  private init(_ process: DetachedProcess, qmp: String, serial: String) async throws {
    self.process = process
    self.serial = serial
    client = try await Self.monitor(qmp, of: process)
  }

  deinit { end() }

  /// Starts one of Godwit's own.
  static func godwit(
    _ bench: Bench, _ work: Work, isIncoming: Bool = false
  ) async throws -> LiveMachine {
    let base = bench.path(String(UUID().uuidString.prefix(8)))
    let process = try DetachedProcess.start(
      bench.godwit,
      arguments: [
        "vm", "run", "--demo-guest", "--memory", "\(work.megabytes)M", "--accel",
        bench.accelerator, "--demo-rate", "\(work.rate)", "--demo-check", "\(work.check)",
        "--demo-memory", "\(work.usedMegabytes)", "--demo-free", "\(work.freePercent)", "--serial",
        "file:\(base).serial", "--qmp", "\(base).qmp",
      ] + (isIncoming ? ["--incoming", "defer"] : []), logPath: "\(base).log")
    return try await LiveMachine(process, qmp: "\(base).qmp", serial: "\(base).serial")
  }

  /// Starts a QEMU with the same guest and as much memory: private, as is its default, or shared.
  static func qemu(
    _ command: [String], _ bench: Bench, _ work: Work, isIncoming: Bool = false,
    sharesMemory: Bool = false
  ) async throws -> LiveMachine {
    let kernel = bench.path("guest.elf")
    try DemoGuest.write(to: kernel)
    let base = bench.path(String(UUID().uuidString.prefix(8)))
    let guest = DemoGuest.commandLine(
      memoryMegabytes: work.usedMegabytes, rate: work.rate, pattern: .random, check: work.check)
    let memory: [String] =
      sharesMemory
      ? [
        "-object", "memory-backend-memfd,id=ram,size=\(work.megabytes)M,share=on", "-machine",
        "memory-backend=ram",
      ] : []
    let process = try DetachedProcess.start(
      command[0],
      arguments: Array(command.dropFirst()) + memory + [
        "-nodefaults", "-display", "none", "-m", "\(work.megabytes)M", "-serial",
        "file:\(base).serial", "-kernel", kernel, "-append", guest, "-qmp",
        "unix:\(base).qmp,server=on,wait=off",
      ] + (isIncoming ? ["-incoming", "defer"] : []), logPath: "\(base).log")
    return try await LiveMachine(process, qmp: "\(base).qmp", serial: "\(base).serial")
  }

  private static func monitor(_ path: String, of process: DetachedProcess) async throws -> QMPClient
  {
    let end = ContinuousClock.now + .seconds(30)
    while true {
      do {
        return try await QMPClient.connect(to: path)
      } catch {
        guard ContinuousClock.now < end, !process.hasEnded() else { throw error }
      }
      try await Task.sleep(for: .milliseconds(10))
    }
  }

  /// The guest's reports so far.
  var reports: [DemoGuestReport] {
    let text = (try? String(contentsOfFile: serial, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }

  /// Waits until the guest has reported `count` times here, and fails where it lost memory.
  @discardableResult
  func require(reports count: Int) async throws -> [DemoGuestReport] {
    let end = ContinuousClock.now + .seconds(600)
    while reports.count < count {
      guard ContinuousClock.now < end else { throw BenchError("the guest stopped reporting") }
      try await Task.sleep(for: .milliseconds(20))
    }
    let all = reports
    guard all.allSatisfy({ $0.bad == 0 }) else {
      throw BenchError("the guest found wrong pages in its memory")
    }
    return all
  }

  /// Processor seconds that the process and its children have used.
  var processorSeconds: Double {
    let own = Self.times(of: process.pid)
    let list = "/proc/\(process.pid)/task/\(process.pid)/children"
    let children = (try? String(contentsOfFile: list, encoding: .utf8)) ?? ""
    return children.split(separator: " ").compactMap { Int32($0) }.reduce(own) {
      $0 + Self.times(of: $1)
    }
  }

  /// utime, stime, cutime and cstime of proc(5), in seconds.
  private static func times(of pid: Int32) -> Double {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
    // The name in parentheses may hold spaces.
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 14 else { return 0 }
    let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
    return fields[11...14].compactMap { Double($0) }.reduce(0, +) / ticksPerSecond
  }

  func end() {
    client.close()
    if !process.hasEnded() { process.kill() }
  }
}
