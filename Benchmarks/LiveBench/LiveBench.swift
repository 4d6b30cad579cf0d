// Moves of running machines held against their bars, each beside something else in the same run.
//
//   live-bench [--runs N] [--only precopy,downtime,postcopy,start,free] [--accel kvm|synthetic]
//              [--no-qemu]
//
// --runs is how often a downtime is measured. The machines are processes of `godwit vm run`, moved
// over loopback by QMP. Under --accel synthetic, the default, their guest's work is done by a
// thread of the host, which writes as fast as the host does and not as an emulated KVM.

import Endpoints
import Foundation

@main
enum LiveBench {
  static func main() async {
    do {
      // Left by returning, so that what it put on the disk goes.
      if try await !measure() { exit(1) }
    } catch {
      print("live-bench: \(error)")
      exit(1)
    }
  }

  /// Whether every bar was met.
  private static func measure() async throws -> Bool {
    let arguments = Array(CommandLine.arguments.dropFirst())
    func value(_ option: String) -> String? {
      arguments.firstIndex(of: option).flatMap { index in
        index + 1 < arguments.count ? arguments[index + 1] : nil
      }
    }
    let folder = "\(NSTemporaryDirectory())/live-bench-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let bench = Bench(folder: folder, accelerator: value("--accel") ?? "synthetic")
    do {
      return try await measure(bench, arguments, value)
    } catch {
      // What the machines said goes with the folder.
      for line in bench.logLines { print("  \(line)") }
      throw error
    }
  }

  private static func measure(
    _ bench: Bench, _ arguments: [String], _ value: (String) -> String?
  ) async throws -> Bool {
    let runs = value("--runs").flatMap { Int($0) } ?? 20
    let parts = value("--only")?.split(separator: ",").map(String.init)
    func isWanted(_ part: String) -> Bool { parts?.contains(part) ?? true }

    print("accelerator \(bench.accelerator); load \(bench.load) at the beginning")
    var table = BenchTable()
    let qemu = arguments.contains("--no-qemu") ? nil : await InstalledQEMU.first(for: "x86_64")
    let postcopy = PostcopyRun(bench: bench, qemu: qemu)
    if isWanted("precopy") {
      try await PrecopyRun(bench: bench, qemu: qemu).run(&table)
    }
    if isWanted("downtime") { try await DowntimeRun(bench: bench, count: runs).run(&table) }
    if isWanted("postcopy") { try await postcopy.latency(&table) }
    if isWanted("start") { try await postcopy.start(&table) }
    if isWanted("free") { try await FreePagesRun(bench: bench).run(&table) }
    print("load \(bench.load) at the end")
    return !table.rows.contains { $0.isMet == false }
  }
}

/// What all parts share.
struct Bench {
  /// Everything of the benchmark is in here.
  let folder: String
  /// What runs the machines.
  let accelerator: String

  /// How many threads wanted a processor in the last minute, as the kernel tells it.
  var load: String {
    let text = try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)
    return text.map { String($0.prefix { $0 != " " }) } ?? "?"
  }

  /// The command, which lies beside this one.
  var godwit: String {
    URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
      .deletingLastPathComponent().appendingPathComponent("godwit").path
  }

  /// What the machines have said so far.
  var logLines: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.filter { $0.hasSuffix(".log") }.flatMap { name in
      let text = (try? String(contentsOfFile: path(name), encoding: .utf8)) ?? ""
      return text.split(whereSeparator: \.isNewline).map { "\(name): \($0)" }
    }
  }

  func path(_ name: String) -> String { "\(folder)/\(name)" }
}

/// Why a benchmark could not be carried out.
struct BenchError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
