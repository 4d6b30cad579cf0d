// A virtio source of random bytes, filled from the kernel's.

public import GuestMemory
public import VMState

/// A virtio entropy device: `/dev/hwrng` in a Linux guest.
public final class VirtioEntropy: VirtioDevice {
  /// The name its state travels under.
  public let name = "virtio-rng"
  let core: VirtioCore<NoExtra>
  private let instance: Int

  /// Makes the device.
  ///
  /// - Parameters:
  ///   - memory: the guest's memory, in which its queue is.
  ///   - line: its interrupt.
  ///   - instance: 0 for the machine's first device of the kind, 1 for the next.
  public init(memory: AddressSpace, line: InterruptLine, instance: Int = 0) {
    core = VirtioCore(memory: memory, line: line, queues: [64], extra: NoExtra())
    self.instance = instance
  }

  /// Answers the guest's load from the registers or the configuration space.
  public func read(offset: UInt64, byteCount: Int) -> UInt64 {
    core.read(offset, byteCount: byteCount, self)
  }

  /// Takes the guest's store to the registers or the configuration space.
  public func write(offset: UInt64, byteCount: Int, value: UInt64) {
    core.write(offset, byteCount: byteCount, value: value, self)
  }

  /// Puts the device into its state of power-on.
  public func reset() { core.reset(self) }

  /// Lets the device work; see `Device`.
  public func resume() {
    core.refreshLine()
    notified(queue: 0)
  }

  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      VirtioState<NoExtra>.description(name: name, queueCount: 1, offered: features),
      instance: UInt32(instance), blank: { self.core.blank }, capture: { self.core.capture() },
      apply: { self.core.apply($0) })
  }
}

extension VirtioEntropy: VirtioFunction {
  var deviceID: UInt32 { 4 }
  var features: UInt64 { 0 }
  func configuration(_ state: VirtioState<NoExtra>) -> [UInt8] { [] }

  /// The kernel's generator does not wait once it is seeded, so the vCPU's own thread asks it; a
  /// driver that asks for much waits for itself.
  func notified(queue: Int) {
    var served: UInt16 = 0
    while served < VirtioLimits.queueSize, let chain = core.take(0) {
      served += 1
      let bytes = HostRandom.bytes(
        min(chain.writableByteCount, VirtioLimits.entropyByteCount))
      guard core.memory.scatter(bytes, to: chain.writable) else { return core.condemn(0) }
      core.finish(0, chain, written: bytes.count)
    }
  }
}
