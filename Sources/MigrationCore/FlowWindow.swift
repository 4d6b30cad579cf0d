// How much lies between a source and a destination that has not read it. Sockets tell only of
// their own side, and megabytes can wait in the other one's; so a PING follows each batch, and its
// PONG says that the destination has read that far.

/// Counts the bytes that a destination has not confirmed by a PONG.
public struct FlowWindow: Sendable {
  /// PINGs below this value belong to the protocol's own sequence (1 to 4).
  static let firstPing: UInt32 = 0x1000
  /// PINGs that may be unanswered; beyond it no further ones are sent until some are.
  private static let unansweredLimit = 4096

  /// Bytes written and not confirmed.
  public private(set) var bytesUnderWay = 0

  private var unanswered: [(ping: UInt32, byteCount: Int)] = []
  private var head = 0
  private var nextPing = Self.firstPing

  /// Nothing is under way.
  public init() {}

  /// Takes note of a batch of `byteCount` bytes; the value of the PING that is to follow it.
  public mutating func batchWritten(byteCount: Int) -> UInt32? {
    bytesUnderWay += byteCount
    if unanswered.count - head >= Self.unansweredLimit {
      unanswered[unanswered.count - 1].byteCount += byteCount
      return nil
    }
    let ping = nextPing
    nextPing = nextPing == .max ? Self.firstPing : nextPing + 1
    unanswered.append((ping, byteCount))
    return ping
  }

  /// Takes a PONG; values that were never asked for change nothing.
  public mutating func answered(_ value: UInt32) {
    guard let position = unanswered[head...].firstIndex(where: { $0.ping == value }) else { return }
    for index in head...position { bytesUnderWay -= unanswered[index].byteCount }
    head = position + 1
    if head == unanswered.count {
      unanswered.removeAll(keepingCapacity: true)
      head = 0
    } else if head >= 1024 {
      unanswered.removeFirst(head)
      head = 0
    }
  }
}
