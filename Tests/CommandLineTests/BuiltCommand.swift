// The executable as a person runs it: started from the build folder, its output read to the end.

import Foundation
import JSON

/// What a run of `godwit` ended with.
struct CommandOutcome {
  /// The exit code, or minus the number of the signal that ended it.
  let code: Int32
  let output: String
  let errors: String

  /// The lines of output as JSON; fails the test's expectations through a throw where one is not.
  func objects() throws -> [JSONValue] {
    try output.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
  }
}

/// The built executable.
enum BuiltCommand {
  /// Beside the test bundle, where the build puts every product.
  static let url: URL = {
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    while !FileManager.default.isExecutableFile(
      atPath: folder.appendingPathComponent("godwit").path),
      folder.path != "/"
    {
      folder.deleteLastPathComponent()
    }
    return folder.appendingPathComponent("godwit")
  }()

  /// Runs `godwit` with these arguments, against a store that is not the user's own.
  static func run(
    _ arguments: [String], store: String = "/nonexistent/store",
    environment: [String: String] = [:]
  ) throws -> CommandOutcome {
    let process = Process()
    process.executableURL = url
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment
      .merging(["GODWIT_STORE": store, "GODWIT_QEMU": ""]) { $1 }
      .merging(environment) { $1 }
    let output = Pipe()
    let errors = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // Both pipes must be drained at once, or the one that fills stops the process.
    let errorText = Drain(errors)
    let outputText = Drain(output)
    process.waitUntilExit()
    let isExit = process.terminationReason == .exit
    return CommandOutcome(
      code: isExit ? process.terminationStatus : -process.terminationStatus,
      output: outputText.text(), errors: errorText.text())
  }
}

/// A pipe that is read to its end on a thread of its own.
final class Drain: @unchecked Sendable {
  private let done = DispatchSemaphore(value: 0)
  private var data = Data()

  init(_ pipe: Pipe) {
    let handle = pipe.fileHandleForReading
    Thread.detachNewThread { [self] in
      // Written before the signal and read after the wait.
      data = (try? handle.readToEnd()) ?? Data()
      done.signal()
    }
  }

  func text() -> String {
    done.wait()
    return String(decoding: data, as: UTF8.self)
  }
}

/// A folder that is removed when its owner is.
final class TemporaryFolder {
  let url = FileManager.default.temporaryDirectory
    .appendingPathComponent("godwit-test-\(UUID().uuidString)")
  var path: String { url.path }

  init() throws {
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }
}
