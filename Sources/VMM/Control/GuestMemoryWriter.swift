// Guest memory on its way into a file, in pieces, so that no more of it is held than one.

import GuestMemory
import QMP
import Transport

/// Writes guest memory to a channel.
struct GuestMemoryWriter {
  /// The most that is read at once, in bytes.
  static let pieceByteCount: UInt64 = 1 << 20

  let machine: any MachineControl
  let channel: ByteChannel
  /// Told how many bytes were written, after each piece.
  var progress: (UInt64) -> Void = { _ in }

  /// Writes a range; what is no memory in it is written as zeros, and no device is touched.
  func write(from address: UInt64, byteCount: UInt64) throws(QMPRefusal) {
    var place = address
    let end = address + byteCount
    let map = machine.memoryMap.filter { $0.kind != .io }
    while place < end {
      let limit = min(end, place + Self.pieceByteCount)
      let bytes: [UInt8]
      if let range = map.first(where: { $0.holds(place) }) {
        let length = min(limit, range.end) - place
        do throws(MachineError) {
          bytes = try machine.readMemory(at: GuestAddress(place), byteCount: Int(length))
        } catch {
          throw QMPRefusal(error)
        }
      } else {
        let next = map.first(where: { $0.start.rawValue > place })?.start.rawValue ?? end
        bytes = Array(repeating: 0, count: Int(min(limit, next) - place))
      }
      try write(bytes)
      place += UInt64(bytes.count)
    }
  }

  /// Writes bytes of another origin.
  func write(_ bytes: [UInt8]) throws(QMPRefusal) {
    do throws(TransportError) {
      try channel.write(bytes)
    } catch {
      throw QMPRefusal(error.description)
    }
    progress(UInt64(bytes.count))
  }
}

extension MappedRange {
  /// The first address behind it.
  var end: UInt64 { start.rawValue + byteCount }

  func holds(_ address: UInt64) -> Bool { address >= start.rawValue && address < end }
}
