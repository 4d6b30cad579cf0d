// The client library of QEMU's own project, so that our monitor is judged with means that are not
// Godwit's.

import Foundation

/// The script that installs the library and drives with it.
public enum ClientLibrary {
  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../scripts/test-qmp-client").standardizedFileURL

  /// Why the library cannot be had here; nil where it can.
  public static let objection: String? = {
    let outcome = run(["--prepare"])
    return outcome.status == 0 ? nil : outcome.output
  }()

  /// Drives the machine behind a socket through everything, on a thread of its own.
  ///
  /// - Parameters:
  ///   - socket: the machine's QMP socket.
  ///   - folder: takes what commands write.
  ///   - moves: whether the machine can migrate.
  ///   - target: the socket of a machine that waits for this one, to be moved there; nothing else
  ///     is done then.
  /// - Returns: the script's exit code, 0 where all is as it should be, and what it said.
  public static func drive(
    _ socket: String, folder: String, moves: Bool = false, to target: String? = nil
  ) async -> (status: Int32, output: String) {
    let arguments =
      [socket, folder] + (moves ? ["--moves"] : []) + (target.map { ["--to", $0] } ?? [])
    return await withCheckedContinuation { continuation in
      Thread.detachNewThread { continuation.resume(returning: run(arguments)) }
    }
  }

  /// Runs the script to its end.
  private static func run(_ arguments: [String]) -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = script
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    do {
      try process.run()
    } catch {
      return (-1, "\(error)")
    }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}
