// Virtual time: what is to happen, and when. Nothing here waits.

/// Runs actions in the order of their times; equal times in the order in which they were asked for.
public final class VirtualClock {
  private struct Entry {
    let time: UInt64
    let sequence: UInt64
    let action: () throws -> Void
  }

  /// Nanoseconds since the beginning.
  public private(set) var now: UInt64 = 0
  /// Actions that ran.
  public private(set) var actionCount = 0

  private var heap: [Entry] = []
  private var sequence: UInt64 = 0

  /// A clock at zero with nothing to do.
  public init() {}

  /// Runs `action` after `delay` nanoseconds.
  public func after(_ delay: UInt64, _ action: @escaping () throws -> Void) {
    sequence += 1
    heap.append(Entry(time: now + delay, sequence: sequence, action: action))
    var child = heap.count - 1
    while child > 0, precedes(heap[child], heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Runs actions until none is left; throws what an action threw, or when `limit` ran.
  public func run(limit: Int) throws {
    while !heap.isEmpty {
      guard actionCount < limit else {
        throw Violation("no end after \(limit) actions: the two sides do not terminate")
      }
      actionCount += 1
      let entry = takeFirst()
      now = entry.time
      try entry.action()
    }
  }

  private func precedes(_ left: Entry, _ right: Entry) -> Bool {
    (left.time, left.sequence) < (right.time, right.sequence)
  }

  private func takeFirst() -> Entry {
    let first = heap[0]
    let last = heap.removeLast()
    guard !heap.isEmpty else { return first }
    heap[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
        if precedes(heap[child], heap[least]) { least = child }
      }
      if least == parent { return first }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}

/// Something that must never happen, and did.
public struct Violation: Error, CustomStringConvertible {
  /// What.
  public let description: String

  /// A violation, described.
  public init(_ description: String) {
    self.description = description
  }
}
