// What the monitor itself takes, beside the guest's memory.

import Foundation

/// A `godwit vm run` with a machine of 4 GiB, looked at from outside.
enum MemoryRun {
  /// The most MiB that it may have resident beyond the guest's memory.
  static let bar = 25.0

  private static let guestBytes = 4 << 30

  enum Failure: Error {
    case noExecutable(String)
    case noReports
  }

  /// Runs the demonstration's guest for three seconds; MiB resident in all mappings but the
  /// guest's memory.
  static func mebibytes() throws -> Double {
    let own = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    let godwit = own.deletingLastPathComponent().appendingPathComponent("godwit")
    guard FileManager.default.isExecutableFile(atPath: godwit.path) else {
      throw Failure.noExecutable(godwit.path)
    }
    let process = Process()
    process.executableURL = godwit
    process.arguments = [
      "vm", "run", "--demo-guest", "--demo-memory", "64", "--memory", "\(guestBytes >> 20)M",
      "--serial", "none",
    ]
    process.standardInput = FileHandle.nullDevice
    try process.run()
    defer {
      process.terminate()
      process.waitUntilExit()
    }
    Thread.sleep(forTimeInterval: 3)
    return Double(try resident(of: process.processIdentifier)) / 1024
  }

  /// KiB resident in all mappings but those as large as the guest's memory.
  private static func resident(of process: Int32) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(process)/smaps", encoding: .utf8)
    var sum = 0
    var isGuest = false
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard let first = words.first else { continue }
      if first == "Size:" {
        isGuest = (Int(words[1]) ?? 0) * 1024 >= guestBytes
      } else if first == "Rss:", !isGuest {
        sum += Int(words[1]) ?? 0
      }
    }
    guard sum > 0 else { throw Failure.noReports }
    return sum
  }
}
