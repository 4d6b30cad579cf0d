// A virtio console: bytes to and from a channel, many at a time.

public import GuestMemory
import Synchronization
public import VMState

/// A virtio console with one port: `/dev/hvc0` in a Linux guest.
public final class VirtioConsole: VirtioDevice {
  private static let receiveQueue = 0
  private static let transmitQueue = 1
  /// The driver may write single bytes to the configuration space before it has queues.
  private static let emergencyWrite: UInt64 = 1 << 2

  /// The name its state travels under.
  public let name = "virtio-console"
  let core: VirtioCore<NoExtra>
  private let instance: Int
  private let channel: CharacterChannel
  /// Held while output is taken from the queue, so that it stays in order.
  private let transmission = Mutex(())

  /// Opens a backend and makes a console of it.
  ///
  /// - Parameters:
  ///   - memory: the guest's memory, in which its queues are.
  ///   - line: its interrupt.
  ///   - backend: where its bytes go to and come from.
  ///   - instance: 0 for the machine's first console, 1 for the next.
  public convenience init(
    memory: AddressSpace, line: InterruptLine, backend: CharacterBackend, instance: Int = 0
  ) throws(DeviceError) {
    try self.init(
      memory: memory, line: line, channel: CharacterChannel(backend), instance: instance)
  }

  init(
    memory: AddressSpace, line: InterruptLine, channel: CharacterChannel, instance: Int = 0
  ) throws(DeviceError) {
    core = VirtioCore(memory: memory, line: line, queues: [64, 64], extra: NoExtra())
    self.channel = channel
    self.instance = instance
    try channel.attach(self, name: "console\(instance)")
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
    channel.resume()
    transmit()
  }

  /// Brings the device to a stand; see `Device`.
  public func quiesce() { channel.quiesce() }

  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      VirtioState<NoExtra>.description(name: name, queueCount: 2, offered: features),
      instance: UInt32(instance), blank: { self.core.blank }, capture: { self.core.capture() },
      apply: { self.core.apply($0) })
  }

  /// Takes output until there is none, or until the channel wants a pause.
  private func transmit() {
    transmission.withLock { _ in
      while !channel.isCongested, let chain = core.take(Self.transmitQueue) {
        var done = 0
        while done < chain.readableByteCount {
          let count = min(chain.readableByteCount - done, VirtioLimits.consoleByteCount)
          guard
            let bytes = core.memory.gather(chain.readable.slice(skipping: done, count: count))
          else { return core.condemn(Self.transmitQueue) }
          channel.send(bytes)
          done += count
        }
        core.finish(Self.transmitQueue, chain, written: 0)
      }
    }
  }
}

extension VirtioConsole: CharacterReceiver {
  var inputRoom: Int { core.peek(Self.receiveQueue)?.writableByteCount ?? 0 }

  func receive(_ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty, let chain = core.take(Self.receiveQueue) {
      let share = Array(rest.prefix(chain.writableByteCount))
      guard core.memory.scatter(share, to: chain.writable) else {
        return core.condemn(Self.receiveQueue)
      }
      core.finish(Self.receiveQueue, chain, written: share.count)
      rest = rest.dropFirst(share.count)
    }
  }

  func outputResumed() { transmit() }
}

extension VirtioConsole: VirtioFunction {
  var deviceID: UInt32 { 3 }
  var features: UInt64 { Self.emergencyWrite }

  /// Columns, rows and ports are not offered; the last word is the emergency byte.
  func configuration(_ state: VirtioState<NoExtra>) -> [UInt8] {
    [UInt8](repeating: 0, count: 12)
  }

  func configure(offset: Int, bytes: [UInt8], _ state: inout VirtioState<NoExtra>) {
    if offset == 8, let byte = bytes.first { channel.send([byte]) }
  }

  func notified(queue: Int) {
    if queue == Self.transmitQueue { transmit() } else { channel.inputRoomGrew() }
  }

  func pauseWork() { channel.pause() }
  func resumeWork() { channel.unpause() }
}
