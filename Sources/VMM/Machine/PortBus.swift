// Which device answers at which I/O port.

public import Devices

/// The I/O ports of a machine; fixed once the machine is built, so that no vCPU waits.
public struct PortBus: Sendable {
  private struct Range: Sendable {
    let first: UInt16
    let last: UInt16
    let handler: any PortHandler
  }

  private var ranges: [Range] = []

  /// Ports that nobody answers.
  public init() {}

  /// Gives a range of ports to a device.
  ///
  /// - Parameters:
  ///   - handler: the device.
  ///   - first: its first port.
  ///   - count: how many ports it answers, 1 upwards; none may belong to another device.
  public mutating func add(_ handler: any PortHandler, at first: UInt16, count: UInt16) {
    let range = Range(first: first, last: first + (count - 1), handler: handler)
    precondition(
      ranges.allSatisfy { $0.last < range.first || $0.first > range.last },
      "two devices at the port 0x\(String(first, radix: 16))")
    ranges.append(range)
    ranges.sort { $0.first < $1.first }
  }

  /// What an input from a port answers; all ones where nobody is.
  ///
  /// - Parameters:
  ///   - port: the port.
  ///   - byteCount: 1, 2 or 4.
  public func read(_ port: UInt16, byteCount: Int) -> UInt32 {
    guard let range = range(of: port) else {
      return byteCount >= 4 ? .max : (1 << UInt32(8 * byteCount)) - 1
    }
    return range.handler.read(port: port - range.first, byteCount: byteCount)
  }

  /// Takes an output to a port; where nobody is it is lost.
  public func write(_ port: UInt16, byteCount: Int, value: UInt32) {
    guard let range = range(of: port) else { return }
    range.handler.write(port: port - range.first, byteCount: byteCount, value: value)
  }

  private func range(of port: UInt16) -> Range? {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].last < port { low = middle + 1 } else { high = middle }
    }
    guard low < ranges.count, ranges[low].first <= port else { return nil }
    return ranges[low]
  }
}
