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

  /// What is resident in all mappings but the guest's memory, in MiB.
  struct Usage {
    /// All of it, libraries that other processes share included.
    var all = 0.0
    /// What this machine alone takes: neither code nor data of a file.
    var anonymous = 0.0
  }

  /// Runs the demonstration's guest for three seconds and looks.
  static func usage() throws -> Usage {
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
    return try resident(of: process.processIdentifier)
  }

  /// Adds up all mappings but those as large as the guest's memory.
  private static func resident(of process: Int32) throws -> Usage {
    // Files of /proc have no size, so they are read until they end.
    let handle = try FileHandle(
      forReadingFrom: URL(fileURLWithPath: "/proc/\(process)/smaps"))
    let text = String(decoding: try handle.readToEnd() ?? Data(), as: UTF8.self)
    var usage = Usage()
    var isGuest = false
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard words.count >= 2, let count = Double(words[1]) else { continue }
      switch words[0] {
      case "Size:": isGuest = count * 1024 >= Double(guestBytes)
      case "Rss:" where !isGuest: usage.all += count / 1024
      case "Anonymous:" where !isGuest: usage.anonymous += count / 1024
      default: break
      }
    }
    guard usage.all > 0 else { throw Failure.noReports }
    return usage
  }
}
