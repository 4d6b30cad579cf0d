// A serial port at its socket: what was said is consumed up to what was waited for.

import Foundation
import QEMULab

/// A connection to a machine's serial port or console.
final class SerialLine {
  private let descriptor: Int32
  private var text: [UInt8] = []
  /// The end of what was already consumed, for messages.
  private var past: [UInt8] = []
  /// So much as a kernel says when it gives up, and boots again.
  private static let tailByteCount = 6000

  /// Connects, waiting until somebody listens.
  init(path: String, seconds: Double = 10) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    while true {
      let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
      }
      if result == 0 { return }
      guard Date() < deadline else {
        close(descriptor)
        throw LabError("nobody listens at \(path)")
      }
      usleep(5000)
    }
  }

  deinit { close(descriptor) }

  /// Types.
  func send(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      // A machine that is gone shows when its answer does not come.
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }

  /// Waits for a text; returns what came before it, and takes both away.
  @discardableResult
  func wait(for wanted: String, seconds: Double) throws -> String {
    let deadline = Date(timeIntervalSinceNow: seconds)
    let pattern = Data(wanted.utf8)
    while true {
      if let found = Data(text).range(of: pattern) {
        let before = Array(text[..<found.lowerBound])
        past = (past + text[..<found.upperBound]).suffix(Self.tailByteCount)
        text.removeSubrange(..<found.upperBound)
        return String(decoding: before, as: UTF8.self)
      }
      let left = deadline.timeIntervalSinceNow
      guard left > 0 else { throw failure("no '\(wanted.debugDescription)' in \(Int(seconds)) s") }
      var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&poller, 1, Int32(left * 1000) + 1) > 0 else { continue }
      var chunk = [UInt8](repeating: 0, count: 65536)
      let count = read(descriptor, &chunk, chunk.count)
      guard count > 0 else { throw failure("the line was closed before '\(wanted)'") }
      // The terminal ends its lines by two characters.
      text += chunk[..<count].filter { $0 != 0x0D }
    }
  }

  private func failure(_ what: String) -> LabError {
    let end = String(decoding: (past + text).suffix(Self.tailByteCount), as: UTF8.self)
    return LabError("\(what); the line said last: …\(end)")
  }
}
