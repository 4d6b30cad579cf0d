// Moves measured against their bars: this project beside QEMU in the same run.
//
//   MoveBench [--quick] [--folder DIR] [--sizes 256,1024,…] [--only save|restore|requests]
//
// --quick leaves out the guests of 4 GiB and more. DIR is where the store and the streams go; the
// default is the temporary directory, so the disk below it takes part in what is measured.

import DemoGuest
import Endpoints
import Foundation

@main
enum MoveBench {
  static func main() async {
    do {
      // Left by returning, so that what it put on the disk goes.
      if try await !measure() { exit(1) }
    } catch {
      print("MoveBench: \(error)")
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
    let isQuick = arguments.contains("--quick")
    guard let qemu = await InstalledQEMU.first(for: "x86_64") else {
      throw BenchError("the benchmark needs qemu-system-x86_64: apt-get install qemu-system-x86")
    }
    let parent = value("--folder") ?? NSTemporaryDirectory()
    let folder = "\(parent)/godwit-bench-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let context = BenchContext(qemu: qemu.command, folder: folder)
    try DemoGuest.write(to: context.path("guest.elf"))

    print("QEMU \(qemu.version ?? "?"), store in \(parent)")
    var table = BenchTable()
    let sizes =
      value("--sizes")?.split(separator: ",").compactMap { Int($0) }
      ?? (isQuick ? [256, 1024] : [256, 1024, 4096, 8192])
    let part = value("--only")
    if part == nil || part == "save" { try await SaveBench(context: context).run(&table) }
    if part == nil || part == "restore" {
      try await RestoreBench(context: context).run(&table, megabytes: sizes)
    }
    if part == nil || part == "requests" { try await RequestBench(context: context).run(&table) }
    return !table.rows.contains { $0.isMet == false }
  }
}
