// A QEMU of the benchmark: the demo guest in it, or nothing yet.

import DemoGuest
import Endpoints
import Foundation
import QMP

/// A QEMU process with its monitor and its guest's serial port.
final class BenchGuest {
  let qmp: String
  private let serial: String
  private let process: DetachedProcess

  /// Starts a QEMU whose guest fills all of `megabytes`, or that waits for one to come in.
  ///
  /// - Parameters:
  ///   - rate: how much of it the guest rewrites, anywhere, in MiB a second.
  ///   - check: how much of it the guest reads and checks, from end to end, in MiB a second.
  ///   - incoming: QEMU's `-incoming` argument; nil boots the demo guest.
  init(
    _ bench: BenchContext, megabytes: Int, rate: Int = 0, check: Int = 16, incoming: String? = nil
  ) throws {
    let name = UUID().uuidString.prefix(8)
    qmp = bench.path("\(name).qmp")
    serial = bench.path("\(name).serial")
    var arguments =
      bench.qemu.dropFirst() + [
        "-nodefaults", "-display", "none", "-m", "\(megabytes)M", "-serial", "file:\(serial)",
        "-kernel", bench.path("guest.elf"), "-append",
        DemoGuest.commandLine(
          rate: rate, pattern: .random, check: check, reportMilliseconds: 250),
        "-qmp", "unix:\(qmp),server=on,wait=off",
      ]
    if let incoming { arguments += ["-incoming", incoming] }
    process = try DetachedProcess.start(
      bench.qemu[0], arguments: Array(arguments), logPath: bench.path("\(name).log"))
  }

  deinit { if !process.hasEnded() { process.kill() } }

  /// The guest's reports so far.
  var reports: [DemoGuestReport] {
    let text = (try? String(contentsOfFile: serial, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }

  /// Waits until the guest has filled its memory.
  func waitUntilReady() async throws {
    for _ in 0..<12000 {
      if !reports.isEmpty { return }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw BenchError("the guest did not fill its memory within ten minutes")
  }

  /// Waits until `count` more reports have come, and fails if the guest found a wrong page.
  func check(reports count: Int) async throws {
    let wanted = reports.count + count
    for _ in 0..<1200 {
      if reports.count >= wanted {
        guard reports.allSatisfy({ $0.bad == 0 }) else {
          throw BenchError("the guest found wrong pages in its memory")
        }
        return
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw BenchError("the guest stopped reporting")
  }

  /// A client of its monitor, once QEMU answers.
  func monitor() async throws -> QMPClient {
    for _ in 0..<500 {
      if FileManager.default.fileExists(atPath: qmp),
        let client = try? await QMPClient.connect(to: qmp)
      {
        return client
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw BenchError("QEMU's monitor did not answer")
  }
}

/// Why a benchmark could not be carried out.
struct BenchError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// What all benchmarks share: the QEMU, the folder and the store.
struct BenchContext {
  let qemu: [String]
  let folder: String

  func path(_ name: String) -> String { "\(folder)/\(name)" }
}
