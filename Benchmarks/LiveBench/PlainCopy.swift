// What a socket alone takes for the same bytes: the measure of a move.

import BenchHost
import Foundation
import Glibc

/// Two threads and a connection over loopback: one writes out of a mapping, the other reads into a
/// fresh one.
enum PlainCopy {
  private static let pieceByteCount = 1 << 20

  /// Copies once; the seconds from the first byte to the last.
  static func seconds(byteCount: Int) throws -> Double {
    let ends = try connection()
    defer {
      close(ends.0)
      close(ends.1)
    }
    let source = unsafe try mapping(byteCount)
    let destination = unsafe try mapping(byteCount)
    defer {
      // SAFETY: both were mapped with this size and nobody uses them from here on.
      unsafe munmap(source, byteCount)
      unsafe munmap(destination, byteCount)
    }
    // SAFETY: the mapping has that many bytes. What has never been written has no pages to read.
    unsafe memset(source, 0xA5, byteCount)
    try FreeMemory.touch(byteCount: byteCount * 5 / 4)
    let bases = (UInt(bitPattern: source), UInt(bitPattern: destination))
    let writer = Thread {
      transfer(byteCount) { offset, count in
        // SAFETY: offset and count stay within the mapping.
        unsafe write(ends.0, UnsafeRawPointer(bitPattern: bases.0 + UInt(offset)), count)
      }
    }
    let begin = ContinuousClock.now
    writer.start()
    let isWhole = transfer(byteCount) { offset, count in
      // SAFETY: offset and count stay within the mapping.
      unsafe read(ends.1, UnsafeMutableRawPointer(bitPattern: bases.1 + UInt(offset)), count)
    }
    guard isWhole else { throw BenchError("the plain copy broke off") }
    return (ContinuousClock.now - begin) / .seconds(1)
  }

  @discardableResult
  private static func transfer(_ byteCount: Int, _ some: (Int, Int) -> Int) -> Bool {
    var offset = 0
    while offset < byteCount {
      let count = some(offset, min(pieceByteCount, byteCount - offset))
      guard count > 0 else { return false }
      offset += count
    }
    return true
  }

  private static func mapping(_ byteCount: Int) throws -> UnsafeMutableRawPointer {
    // SAFETY: a new anonymous mapping.
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw BenchError("there is no memory for a plain copy of \(byteCount) bytes")
    }
    return unsafe address
  }

  /// Both ends of a TCP connection over loopback.
  private static func connection() throws -> (Int32, Int32) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    // SAFETY: the address lives for the calls and has the size that is given.
    let isConnected = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        unsafe bind(listener, generic, size) == 0 && listen(listener, 1) == 0
          && getsockname(listener, generic, &size) == 0 && connect(client, generic, size) == 0
      }
    }
    let server = isConnected ? accept(listener, nil, nil) : -1
    guard server >= 0 else { throw BenchError("there is no connection over loopback") }
    return (client, server)
  }
}
