// A blocking QMP connection, so that tests judge Godwit with means that are not Godwit's.

import Foundation
import JSON

/// A connection to a QEMU's monitor that sends a command and waits for its answer.
///
/// Events are set aside in ``events``. One thread at a time.
public final class LabQMP {
  /// The events that came while answers were awaited, oldest first.
  public private(set) var events: [JSONValue] = []
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private var lastIdentifier = 0

  /// Connects to a Unix socket, waiting until somebody listens there, and greets.
  public init(path: String, seconds: Double = 10) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw LabError("the socket path is too long: \(path)")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    while true {
      let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
      }
      if result == 0 { break }
      guard Date() < deadline else { throw LabError("nobody listens at \(path)") }
      usleep(5000)
    }
    setPatience(seconds: 60)
    _ = try message()
    try execute("qmp_capabilities")
  }

  deinit { close(descriptor) }

  /// Sets how long a monitor may say nothing before it counts as hung.
  public func setPatience(seconds: Int) {
    var patience = timeval(tv_sec: seconds, tv_usec: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  }

  /// Sends a command and returns its answer's `return`; QEMU's refusal is thrown as it is.
  @discardableResult
  public func execute(_ command: String, _ arguments: JSONValue? = nil) throws -> JSONValue {
    lastIdentifier += 1
    var members = [
      JSONMember("execute", .string(command)), JSONMember("id", JSONValue(lastIdentifier)),
    ]
    if let arguments { members.append(JSONMember("arguments", arguments)) }
    let bytes = JSONValue.object(members).bytes() + [0x0a]
    // Not write: a QEMU that died must fail its test, not end the run by a signal.
    guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw LabError("\(command): the monitor is gone")
    }
    while true {
      let message = try message()
      // The answer to a command that was given up when the monitor said nothing for too long.
      if let number = message["id"]?.int, number != lastIdentifier { continue }
      if let value = message["return"] { return value }
      if let error = message["error"] {
        throw LabError("\(command): \(error["desc"]?.string ?? "\(error)")")
      }
      events.append(message)
    }
  }

  /// Switches migration capabilities on.
  public func setCapabilities(_ names: [String]) throws {
    let list = names.map { name -> JSONValue in ["capability": .string(name), "state": true] }
    try execute("migrate-set-capabilities", ["capabilities": .array(list)])
  }

  /// Runs a command of the human monitor and returns what it prints.
  public func monitor(_ line: String) throws -> String {
    try execute("human-monitor-command", ["command-line": .string(line)]).string ?? ""
  }

  private func message() throws -> JSONValue {
    while true {
      if let end = buffer.firstIndex(of: 0x0a) {
        let line = Array(buffer[..<end])
        buffer.removeFirst(end + 1)
        return try JSONValue(parsing: line)
      }
      var chunk = [UInt8](repeating: 0, count: 65536)
      let count = read(descriptor, &chunk, chunk.count)
      guard count > 0 else {
        throw LabError(count == 0 ? "the monitor is gone" : "the monitor hangs (\(errno))")
      }
      buffer += chunk[..<count]
    }
  }
}
