// A split virtqueue, from the device's side.

import Synchronization

/// One queue: where its rings are, and how far the device has come in them.
///
/// The rings are the driver's memory and may hold anything at any time, so every number in them is
/// read once and checked before it is used.
struct VirtioQueue: Equatable, Sendable {
  private static let noInterrupt: UInt16 = 1

  /// Most entries the driver may choose; a property of the machine.
  let capacity: UInt16
  /// Entries the driver chose, a power of two.
  var size: UInt16
  var isReady = false
  /// The descriptor table.
  var descriptors: UInt64 = 0
  /// The available ring, which the driver writes.
  var available: UInt64 = 0
  /// The used ring, which the device writes.
  var used: UInt64 = 0
  /// The next entry to take from the available ring; counts round.
  var nextAvailable: UInt16 = 0
  /// The next entry to write in the used ring; counts round.
  var nextUsed: UInt16 = 0
  /// `nextUsed` when the driver was last interrupted.
  var signalled: UInt16 = 0
  /// Whether the driver was ever interrupted for this queue.
  var hasSignalled = false

  init(capacity: UInt16) {
    self.capacity = capacity
    size = capacity
  }

  /// Whether size and addresses are such as the specification demands.
  var isWellFormed: Bool {
    size > 0 && size <= capacity && size & (size - 1) == 0
      && descriptors % 16 == 0 && available % 2 == 0 && used % 4 == 0
  }

  /// Takes the next request, or none where the driver has made none.
  ///
  /// - Parameter usesEvents: whether driver and device tell each other which entry to be told of.
  mutating func take(
    _ memory: DeviceMemory, usesEvents: Bool
  ) throws(RingFault) -> DescriptorChain? {
    guard let chain = try peek(memory, usesEvents: usesEvents) else { return nil }
    nextAvailable &+= 1
    return chain
  }

  /// Looks at the next request without taking it.
  func peek(
    _ memory: DeviceMemory, usesEvents: Bool
  ) throws(RingFault) -> DescriptorChain? {
    guard isReady else { return nil }
    if try pendingCount(memory) == 0 {
      guard usesEvents else { return nil }
      try askForNotification(memory)
      if try pendingCount(memory) == 0 { return nil }
    }
    // The index was read before the entry that it covers.
    atomicMemoryFence(ordering: .acquiring)
    let slot = Int(nextAvailable & (size - 1))
    let head = try memory.load(UInt16.self, at: memory.offset(available, by: 4 + 2 * slot))
    return try DescriptorChain(head: head, table: descriptors, size: size, memory: memory)
  }

  /// Hands requests back, each with the number of bytes written into its writable part.
  ///
  /// The driver sees all of them at once.
  mutating func finish(
    _ requests: [(chain: DescriptorChain, written: Int)], _ memory: DeviceMemory
  ) throws(RingFault) {
    guard isReady else { return }
    for (chain, written) in requests {
      var entry: [UInt8] = []
      entry.appendLittleEndian(UInt32(chain.head))
      entry.appendLittleEndian(UInt32(clamping: written))
      let slot = Int(nextUsed & (size - 1))
      try memory.write(entry, at: memory.offset(used, by: 4 + 8 * slot))
      nextUsed &+= 1
    }
    // The entries, and all that was written for the requests, are there before the index says so.
    atomicMemoryFence(ordering: .releasing)
    try memory.store(nextUsed, at: memory.offset(used, by: 2))
  }

  /// Whether the driver wants to be interrupted for what was handed back.
  mutating func mustInterrupt(
    _ memory: DeviceMemory, usesEvents: Bool
  ) throws(RingFault) -> Bool {
    guard isReady else { return false }
    // What the driver wants is read after it can see what was handed back.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard usesEvents else {
      return try memory.load(UInt16.self, at: available) & Self.noInterrupt == 0
    }
    let event = try memory.load(
      UInt16.self, at: memory.offset(available, by: 4 + 2 * Int(size)))
    let before = signalled
    let isFirst = !hasSignalled
    (signalled, hasSignalled) = (nextUsed, true)
    return isFirst || nextUsed &- event &- 1 < nextUsed &- before
  }

  /// How many requests wait.
  private func pendingCount(_ memory: DeviceMemory) throws(RingFault) -> UInt16 {
    let index = try memory.load(UInt16.self, at: memory.offset(available, by: 2))
    let count = index &- nextAvailable
    guard count <= size else { throw .tooManyAvailable(count) }
    return count
  }

  /// Has the driver notify the device of the next request.
  private func askForNotification(_ memory: DeviceMemory) throws(RingFault) {
    try memory.store(nextAvailable, at: memory.offset(used, by: 4 + 8 * Int(size)))
    // The driver sees this before the device looks at the ring a last time.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }
}
