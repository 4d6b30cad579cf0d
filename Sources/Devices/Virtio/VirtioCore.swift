// The part of a virtio device that is the same for all: registers, queues, interrupt.

import GuestMemory
import Synchronization

/// Holds a device's state under its lock and keeps the interrupt line in step with it.
final class VirtioCore<Extra: Sendable>: Sendable {
  let memory: DeviceMemory
  private let line: InterruptLine
  private let state: Mutex<VirtioState<Extra>>
  private let blankExtra: Extra

  init(memory: AddressSpace, line: InterruptLine, queues: [UInt16], extra: Extra) {
    self.memory = DeviceMemory(memory)
    self.line = line
    blankExtra = extra
    state = Mutex(
      VirtioState(registers: VirtioRegisters(queueCapacities: queues), extra: extra))
  }

  /// The state as after power-on.
  var blank: VirtioState<Extra> {
    VirtioState(
      registers: VirtioRegisters(queueCapacities: capture().registers.queues.map(\.capacity)),
      extra: blankExtra)
  }

  /// A copy of the state.
  func capture() -> VirtioState<Extra> { state.withLock { $0 } }

  /// Gives the device a state that was saved.
  func apply(_ new: VirtioState<Extra>) { state.withLock { $0 = new } }

  /// Works on the device's own state.
  func withState<R>(_ body: (inout VirtioState<Extra>) -> R) -> R {
    state.withLock { state in body(&state) }
  }

  /// Puts the line where the state wants it.
  func refreshLine() {
    state.withLock { line.set($0.registers.interruptStatus != 0) }
  }

  // MARK: Queues

  /// Works on a queue of a device that its driver uses; nil where it does not, or did it wrong.
  ///
  /// A driver that breaks the rules is told that the device needs to be reset, and nothing more is
  /// done for it until then.
  func withQueue<R>(
    _ index: Int,
    _ body: (inout VirtioQueue, inout VirtioState<Extra>) throws(RingFault) -> R?
  ) -> R? {
    state.withLock { state -> R? in
      guard state.registers.isLive, index < state.registers.queues.count,
        state.registers.queues[index].isReady
      else { return nil }
      var queue = state.registers.queues[index]
      do throws(RingFault) {
        let result = try body(&queue, &state)
        state.registers.queues[index] = queue
        return result
      } catch {
        state.registers.status |= VirtioRegisters.needsReset
        raise(VirtioRegisters.configurationInterrupt, &state)
        return nil
      }
    }
  }

  /// Takes the next request of a queue.
  func take(_ index: Int) -> DescriptorChain? {
    withQueue(index) { (queue, state) throws(RingFault) in
      try queue.take(memory, usesEvents: state.registers.usesEvents)
    }
  }

  /// Hands a request back and interrupts the driver if it wants that.
  func finish(_ index: Int, _ chain: DescriptorChain, written: Int) {
    _ = withQueue(index) { (queue, state) throws(RingFault) in
      try queue.finish([(chain, written)], memory)
      try interrupt(for: &queue, &state)
      return ()
    }
  }

  /// Looks at the next request of a queue, which stays there until `finishPeeked`.
  func peek(_ index: Int) -> DescriptorChain? {
    withQueue(index) { (queue, state) throws(RingFault) in
      try queue.peek(memory, usesEvents: state.registers.usesEvents)
    }
  }

  /// Takes the request that was looked at and hands it back.
  func finishPeeked(_ index: Int, _ chain: DescriptorChain, written: Int) {
    _ = withQueue(index) { (queue, state) throws(RingFault) in
      queue.nextAvailable &+= 1
      try queue.finish([(chain, written)], memory)
      try interrupt(for: &queue, &state)
      return ()
    }
  }

  /// Interrupts the driver for what was handed back in a queue, if it wants that.
  func interrupt(
    for queue: inout VirtioQueue, _ state: inout VirtioState<Extra>
  ) throws(RingFault) {
    if try queue.mustInterrupt(memory, usesEvents: state.registers.usesEvents) {
      raise(VirtioRegisters.queueInterrupt, &state)
    }
  }

  /// Declares the driver's requests broken; it has to reset the device.
  func condemn(_ index: Int) {
    _ = withQueue(index) { (_, _) throws(RingFault) -> Void? in throw .malformedRequest }
  }

  /// Tells the driver that the configuration space has changed, which `body` did.
  func changeConfiguration(_ body: (inout VirtioState<Extra>) -> Void) {
    state.withLock { state in
      body(&state)
      state.registers.configurationGeneration &+= 1
      if state.registers.isLive { raise(VirtioRegisters.configurationInterrupt, &state) }
    }
  }

  private func raise(_ cause: UInt32, _ state: inout VirtioState<Extra>) {
    state.registers.interruptStatus |= cause
    line.set(true)
  }

  // MARK: The guest's accesses

  func read<F: VirtioFunction>(
    _ offset: UInt64, byteCount: Int, _ function: F
  ) -> UInt64 where F.Extra == Extra {
    state.withLock { state in
      if offset >= 0x100 {
        let bytes = function.configuration(state)
        let start = Int(min(offset - 0x100, 0x1000))
        var value: UInt64 = 0
        for index in 0..<min(max(byteCount, 0), 8) where start + index < bytes.count {
          value |= UInt64(bytes[start + index]) << UInt64(8 * index)
        }
        return value
      }
      // The specification has drivers use aligned accesses of four bytes only.
      guard byteCount == 4, offset % 4 == 0 else { return 0 }
      return UInt64(
        state.registers.read(
          offset, deviceID: function.deviceID, offered: offered(by: function)))
    }
  }

  func write<F: VirtioFunction>(
    _ offset: UInt64, byteCount: Int, value: UInt64, _ function: F
  ) where F.Extra == Extra {
    if offset >= 0x100 {
      let bytes = (0..<min(max(byteCount, 0), 8)).map {
        UInt8(truncatingIfNeeded: value >> UInt64(8 * $0))
      }
      state.withLock {
        function.configure(offset: Int(min(offset - 0x100, 0x1000)), bytes: bytes, &$0)
      }
      return
    }
    guard byteCount == 4, offset % 4 == 0 else { return }
    let value = UInt32(truncatingIfNeeded: value)
    switch offset {
    case 0x050:
      if state.withLock({ $0.registers.isLive && value < $0.registers.queues.count }) {
        function.notified(queue: Int(value))
      }
    case 0x070: writeStatus(UInt8(truncatingIfNeeded: value), function)
    case 0x044 where value & 1 == 0:
      // A queue is taken away only when nobody works on it any more.
      function.pauseWork()
      state.withLock { $0.registers.write(offset, value) }
      function.resumeWork()
    case 0x064: acknowledge(value)
    default: state.withLock { $0.registers.write(offset, value) }
    }
  }

  /// Puts the device into the state of power-on, when nobody works on its queues any more.
  func reset<F: VirtioFunction>(_ function: F) where F.Extra == Extra {
    function.pauseWork()
    state.withLock { state in
      state.registers.reset()
      state.extra = blankExtra
      line.set(false)
      function.statusChanged(&state)
    }
    function.resumeWork()
  }

  private func offered<F: VirtioFunction>(by function: F) -> UInt64 {
    function.features | VirtioFeature.transport
  }

  private func writeStatus<F: VirtioFunction>(
    _ value: UInt8, _ function: F
  ) where F.Extra == Extra {
    if value == 0 { return reset(function) }
    let (becameLive, queueCount) = state.withLock { state in
      let wasLive = state.registers.isLive
      state.registers.writeStatus(value, offered: offered(by: function))
      function.statusChanged(&state)
      return (!wasLive && state.registers.isLive, state.registers.queues.count)
    }
    // What was made available before the driver was ready is looked at now.
    if becameLive { for index in 0..<queueCount { function.notified(queue: index) } }
  }

  /// Lowers the line when nothing is left to tell, and makes a new edge when something is.
  private func acknowledge(_ causes: UInt32) {
    state.withLock { state in
      state.registers.write(0x064, causes)
      line.set(false)
      if state.registers.interruptStatus != 0 { line.set(true) }
    }
  }
}
