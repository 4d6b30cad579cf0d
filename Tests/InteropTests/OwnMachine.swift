// A machine of Godwit's own, run as a person runs it, under a test's control.

import DemoGuest
import Foundation
import JSON
import QEMULab

/// A `godwit vm run` with the demonstration's guest, its monitor and what it says.
final class OwnMachine {
  /// Whether this host can run such machines.
  static let isPossible = access("/dev/kvm", R_OK | W_OK) == 0

  let qmpPath: String
  let qmp: LabQMP
  private let serial: String
  private let running: RunningGodwit

  /// Starts one, running or waiting for a machine.
  ///
  /// - Parameters:
  ///   - accelerator: what runs it, `kvm` or `synthetic`.
  ///   - rate: how much its guest writes, in MiB a second.
  ///   - options: more of the command's options.
  init(
    _ godwit: Godwit, isIncoming: Bool = false, megabytes: Int = 64,
    accelerator: String = "kvm", rate: Int = 4, options: [String] = []
  ) throws {
    let base = NSTemporaryDirectory() + "gwown-\(UUID().uuidString.prefix(8))"
    qmpPath = base + ".qmp"
    serial = base + ".serial"
    running = try godwit.start(
      [
        "vm", "run", "--demo-guest", "--memory", "\(megabytes)M", "--qmp", qmpPath, "--serial",
        "file:" + serial, "--demo-rate", "\(rate)", "--accel", accelerator,
      ] + (isIncoming ? ["--incoming", "defer"] : []) + options)
    qmp = try LabQMP(path: qmpPath, seconds: 60)
  }

  deinit {
    running.kill()
    for path in [qmpPath, serial] { try? FileManager.default.removeItem(atPath: path) }
  }

  var isRunning: Bool { running.isRunning }

  /// What its program has said.
  var said: String { running.output + running.errors }

  /// SIGKILL to its process.
  func kill() { running.kill() }

  /// The pagers that this machine has started and that are there.
  var pagers: [Int32] {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.compactMap(Int32.init).filter { process in
      let status = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
      // The name, in parentheses, may hold spaces; the state and the parent follow it.
      let fields = status.split(separator: ")").last?.split(separator: " ") ?? []
      return fields.count > 1 && fields[1] == "\(running.pid)" && fields[0] != "Z"
    }
  }

  /// The process that fills its memory while it is received; nil where there is none.
  var pager: pid_t? {
    let folder = "/proc/\(running.pid)/task"
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    for thread in threads {
      let list = try? String(contentsOfFile: "\(folder)/\(thread)/children", encoding: .utf8)
      if let pid = list?.split(separator: " ").first.flatMap({ pid_t($0) }) { return pid }
    }
    return nil
  }

  /// What the guest has said so far.
  var reports: [DemoGuestReport] {
    let text = (try? String(contentsOfFile: serial, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }

  /// What `query-status` says.
  var status: String { get throws { try qmp.execute("query-status")["status"]?.string ?? "" } }

  /// What `query-migrate` says.
  var migrationStatus: String {
    get throws { try qmp.execute("query-migrate")["status"]?.string ?? "none" }
  }

  /// Waits until the guest has said twice more that it is well.
  func requireHealth(reports more: Int = 2, seconds: Double = 60) throws {
    let before = reports.count
    try wait(for: "\(more) reports", seconds: seconds) { reports.count >= before + more }
    if let ill = reports.first(where: { $0.bad != 0 }) {
      throw LabError("the guest lost memory: \(ill)")
    }
  }

  /// Waits for something, or says what it was and how the machine is.
  func wait(for what: String, seconds: Double = 60, _ isReached: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !isReached() {
      guard Date() < deadline, running.isRunning else {
        throw LabError("no \(what): \(reports.suffix(3)) \(running.output) \(running.errors)")
      }
      usleep(5000)
    }
  }

  /// All of its memory, which stands still.
  func memory(megabytes: Int = 64) throws -> Data {
    let path = qmpPath + ".memory"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try qmp.execute(
      "pmemsave",
      ["val": 0, "size": JSONValue(megabytes << 20), "filename": .string(path)])
    return try Data(contentsOf: URL(fileURLWithPath: path))
  }
}
