// The command itself as a process, for what only a process has: its peak memory.

import Foundation
import Glibc

/// Runs `godwit` and tells its peak resident memory.
enum ChildProcess {
  /// The executable beside this one.
  private static var godwit: String {
    URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
      .deletingLastPathComponent().appendingPathComponent("godwit").path
  }

  /// Runs the command to its end.
  /// - Returns: the largest amount of memory that was resident at once, file mappings included,
  ///   in MiB, as the kernel accounts it.
  static func peakMegabytes(_ arguments: [String]) throws -> Int {
    var words: [UnsafeMutablePointer<CChar>?] = unsafe ([godwit] + arguments).map {
      unsafe strdup($0)
    }
    unsafe words.append(nil)
    defer { unsafe words.forEach { unsafe free($0) } }
    var pid: pid_t = 0
    // SAFETY: argv ends in NULL and lives until the call returns.
    let failure = unsafe posix_spawn(&pid, godwit, nil, nil, words, environ)
    guard failure == 0 else { throw BenchError("cannot start \(godwit); build it first") }
    var status: Int32 = 0
    var usage = rusage()
    // SAFETY: both are locals of the kernel's types.
    guard unsafe wait4(pid, &status, 0, &usage) == pid, status == 0 else {
      throw BenchError("godwit \(arguments.joined(separator: " ")) failed")
    }
    return Int(usage.ru_maxrss) / 1024
  }
}
