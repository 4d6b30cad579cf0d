// What starting a machine costs, in time and memory, against its bars.

import DirtyTracking
import Foundation
import VMM

@main
enum MachineBench {
  static func main() throws {
    let rounds = 9
    print("machine start to the guest's own end, best and median of \(rounds)")
    var isMet = true
    for megabytes in [256, 8192] as [UInt64] {
      let times = try (0..<rounds).map { _ in try StartRun.milliseconds(megabytes: megabytes) }
        .sorted()
      let median = times[rounds / 2]
      isMet = isMet && median <= StartRun.bar
      print(
        line(
          "start_\(megabytes)_mib_ms",
          "\(text(times[0])) / \(text(median))", "bar: median at most \(text(StartRun.bar))",
          median <= StartRun.bar))
    }
    let used = try MemoryRun.usage()
    isMet = isMet && used.all <= MemoryRun.bar
    print(
      line(
        "monitor_4096_mib_mib", text(used.all),
        "resident beyond the guest's memory; bar: at most \(text(MemoryRun.bar))",
        used.all <= MemoryRun.bar))
    print(
      line(
        "monitor_anonymous_mib", text(used.anonymous), "of it in no file, so this machine's alone",
        true))
    printDirtying()
    if !isMet { exit(1) }
  }

  /// What each source of dirty pages costs a guest that writes as fast as it can; no bar.
  private static func printDirtying() {
    for source in DirtyLogKind.allCases {
      do {
        let rates = try DirtyingRun.rates(source)
        print(
          line(
            "dirtying_\(source.rawValue)", text(rates.watched / rates.unwatched) + " x",
            "of \(Int(rates.unwatched)) pages a second without a log", true))
      } catch {
        print("dirtying_\(source.rawValue): skipped: \(error)")
      }
    }
  }

  private static func line(
    _ name: String, _ value: String, _ words: String, _ isMet: Bool
  ) -> String {
    let pad = { (text: String, width: Int) in
      text + String(repeating: " ", count: max(1, width - text.count))
    }
    return pad(name, 26) + pad(value, 18) + (isMet ? "ok      " : "MISSED  ") + words
  }

  private static func text(_ value: Double) -> String { String(format: "%.2f", value) }
}
