// Frames between a network interface's queues and its port.

import Glibc
import Synchronization

extension VirtioNetwork {
  /// What became of a frame for the guest.
  private enum Delivery { case delivered, noRoom, dropped }

  /// Sends what the guest has made available, until the port wants a pause.
  ///
  /// A request stays in its queue until its frame is sent, so that a machine may be saved between.
  func transmit() -> ThreadWait {
    while !transmitter.shouldYield, let chain = core.peek(Self.transmitQueue) {
      guard chain.readableByteCount >= Self.headerByteCount else {
        core.condemn(Self.transmitQueue)
        return .kick
      }
      if chain.readableByteCount <= VirtioLimits.frameByteCount {
        guard let frame = core.memory.gather(chain.readable) else {
          core.condemn(Self.transmitQueue)
          return .kick
        }
        if case .mustWait = port.send(frame.dropFirst(port.hasHeader ? 0 : Self.headerByteCount)) {
          return ThreadWait(descriptors: [(port.number, POLLOUT)])
        }
      }
      core.finishPeeked(Self.transmitQueue, chain, written: 0)
    }
    return .kick
  }

  /// Hands the guest what has come, as long as it has room.
  func receive() -> ThreadWait {
    // Frames for a driver that is not there wait in the host's queue, which drops them in the end.
    guard core.withState({ $0.registers.isLive }) else { return .kick }
    while !receiver.shouldYield {
      guard let frame = pending.withLock({ $0.take() }) ?? nextFrame() else {
        // A port that is gone would end every sleep at once.
        return port.isBroken
          ? ThreadWait(timeout: .seconds(1))
          : ThreadWait(descriptors: [(port.number, POLLIN)])
      }
      switch deliver(frame) {
      case .delivered, .dropped: break
      case .noRoom:
        pending.withLock { $0 = frame }
        return .kick
      }
    }
    return .kick
  }

  /// The next frame with a header before it.
  private func nextFrame() -> [UInt8]? {
    if port.hasHeader { return port.receive(atMost: VirtioLimits.frameByteCount) }
    guard let frame = port.receive(atMost: VirtioLimits.frameByteCount) else { return nil }
    return [UInt8](repeating: 0, count: Self.headerByteCount) + frame
  }

  /// Writes a frame into as many of the driver's buffers as it takes.
  private func deliver(_ frame: [UInt8]) -> Delivery {
    guard frame.count > Self.headerByteCount else { return .dropped }
    let delivery = core.withQueue(Self.receiveQueue) {
      (queue, state) throws(RingFault) -> Delivery in
      let mayMerge = state.registers.driverFeatures & Self.mergedBuffers != 0
      let before = queue
      var chains: [DescriptorChain] = []
      var room = 0
      while room < frame.count {
        guard chains.isEmpty || mayMerge else { break }
        guard
          let chain = try queue.take(core.memory, usesEvents: state.registers.usesEvents)
        else {
          queue = before
          return .noRoom
        }
        guard chain.writableByteCount > Self.headerByteCount else { throw .malformedRequest }
        chains.append(chain)
        room += chain.writableByteCount
      }
      guard room >= frame.count else {
        queue = before
        return .dropped
      }
      try queue.finish(fill(chains, with: frame), core.memory)
      try core.interrupt(for: &queue, &state)
      return .delivered
    }
    return delivery ?? .noRoom
  }

  /// Spreads a frame over buffers, saying in its header how many there are.
  private func fill(
    _ chains: [DescriptorChain], with frame: [UInt8]
  ) throws(RingFault) -> [(chain: DescriptorChain, written: Int)] {
    var rest = frame[...]
    rest[10] = UInt8(truncatingIfNeeded: chains.count)
    rest[11] = UInt8(truncatingIfNeeded: chains.count >> 8)
    var filled: [(chain: DescriptorChain, written: Int)] = []
    for chain in chains {
      let share = Array(rest.prefix(chain.writableByteCount))
      guard core.memory.scatter(share, to: chain.writable) else { throw .malformedRequest }
      filled.append((chain, share.count))
      rest = rest.dropFirst(share.count)
    }
    return filled
  }
}
