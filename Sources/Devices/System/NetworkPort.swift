// The host's end of a network interface: a tap, or one end of a socket pair. No call here waits.

import CLinux
import Glibc
import Synchronization
import Transport

/// Offloads that a guest's network driver understands in frames it receives.
struct NetworkOffloads: OptionSet, Sendable {
  let rawValue: UInt32

  // The bits are the kernel's TUN_F_ bits.
  static let checksum = NetworkOffloads(rawValue: 1)
  static let segmentation4 = NetworkOffloads(rawValue: 2)
  static let segmentation6 = NetworkOffloads(rawValue: 4)
}

/// Where frames go to and come from.
final class NetworkPort: Sendable {
  /// What became of a frame.
  enum Sending { case sent, mustWait, dropped }

  /// Whether every frame has virtio's header of twelve bytes before it, which allows offloads.
  let hasHeader: Bool
  private let descriptor: OwnedDescriptor
  private let broken = Atomic<Bool>(false)

  /// Whether the last attempt to receive found the other side gone.
  var isBroken: Bool { broken.load(ordering: .relaxed) }

  /// Opens a tap interface; it is made if there is none of that name.
  init(tap name: String) throws(DeviceError) {
    // SAFETY: the name is a terminated string for the duration of the call.
    let number = unsafe godwit_tap_open(name)
    guard number >= 0 else {
      throw .system(
        doing: "Opening the tap interface '\(name)' by /dev/net/tun", code: -number)
    }
    descriptor = OwnedDescriptor(adopting: number)
    hasHeader = true
  }

  /// Uses a socket that keeps the limits of messages and does not block; each is a bare frame.
  init(adopting socket: consuming OwnedDescriptor) {
    descriptor = socket
    hasHeader = false
  }

  /// What poll(2) waits for.
  var number: Int32 { descriptor.raw }

  /// Says which offloads the guest understands in frames it receives.
  func setOffloads(_ offloads: NetworkOffloads) {
    if hasHeader { _ = godwit_tap_offloads(descriptor.raw, offloads.rawValue) }
  }

  /// Sends a frame.
  func send(_ frame: ArraySlice<UInt8>) -> Sending {
    // SAFETY: the bytes live for the duration of the call.
    let result = unsafe frame.withUnsafeBytes { bytes in
      SystemErrors.repeating {
        unsafe Glibc.write(descriptor.raw, bytes.baseAddress, bytes.count)
      }
    }
    if result >= 0 { return .sent }
    // An interface that is down, a peer that has gone, a header the kernel refuses: as on a wire,
    // the frame is lost.
    return result == -Int(EAGAIN) ? .mustWait : .dropped
  }

  /// The next frame; nil if none has come (or none ever will).
  func receive(atMost limit: Int) -> [UInt8]? {
    var result = 0
    // SAFETY: the buffer has room for `limit` bytes, of which the call says how many it filled.
    let frame = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, filled in
      result = SystemErrors.repeating {
        unsafe Glibc.read(descriptor.raw, buffer.baseAddress, limit)
      }
      filled = max(0, result)
    }
    broken.store(result <= 0 && result != -Int(EAGAIN), ordering: .relaxed)
    return result > 0 ? frame : nil
  }

  /// Two ports that hear each other, for tests and for machines side by side.
  static func pair() throws(DeviceError) -> (NetworkPort, NetworkPort) {
    var ends: [Int32] = [-1, -1]
    // SAFETY: the array has room for the two numbers.
    let result = unsafe godwit_message_sockets(&ends)
    guard result == 0 else {
      throw .system(doing: "Creating a pair of sockets for frames", code: -result)
    }
    return (
      NetworkPort(adopting: OwnedDescriptor(adopting: ends[0])),
      NetworkPort(adopting: OwnedDescriptor(adopting: ends[1]))
    )
  }
}
