// A virtio network interface over a tap.

public import GuestMemory
import Synchronization
public import VMState

/// A virtio network interface: `eth0` in a Linux guest.
///
/// Frames are sent by one thread of the device's own and received by another.
public final class VirtioNetwork: VirtioDevice {
  static let receiveQueue = 0
  static let transmitQueue = 1
  static let headerByteCount = 12

  /// The name its state travels under.
  public let name = "virtio-net"
  /// Its address.
  public let address: MACAddress
  let core: VirtioCore<NoExtra>
  let port: NetworkPort
  let transmitter: DeviceThread
  let receiver: DeviceThread
  /// A frame that came when the driver had no room for it.
  let pending = Mutex<[UInt8]?>(nil)
  private let instance: Int

  /// Opens a tap interface and makes a network interface of it.
  ///
  /// - Parameters:
  ///   - memory: the guest's memory, in which its queues are.
  ///   - line: its interrupt.
  ///   - tap: the tap interface's name on the host; it is made if there is none, which takes
  ///     rights, and goes with the machine then.
  ///   - address: the guest's Ethernet address.
  ///   - instance: 0 for the machine's first interface, 1 for the next.
  public convenience init(
    memory: AddressSpace, line: InterruptLine, tap: String, address: MACAddress,
    instance: Int = 0
  ) throws(DeviceError) {
    try self.init(
      memory: memory, line: line, port: NetworkPort(tap: tap), address: address,
      instance: instance)
  }

  init(
    memory: AddressSpace, line: InterruptLine, port: NetworkPort, address: MACAddress,
    instance: Int = 0
  ) throws(DeviceError) {
    self.port = port
    self.address = address
    self.instance = instance
    core = VirtioCore(
      memory: memory, line: line, queues: [VirtioLimits.queueSize, VirtioLimits.queueSize],
      extra: NoExtra())
    transmitter = try DeviceThread()
    receiver = try DeviceThread()
    try transmitter.start(name: "net\(instance)-tx") { [weak self] in self?.transmit() }
    try receiver.start(name: "net\(instance)-rx") { [weak self] in self?.receive() }
  }

  deinit {
    transmitter.end()
    receiver.end()
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
    port.setOffloads(offloads(core.capture().registers.driverFeatures))
    transmitter.release()
    receiver.release()
  }

  /// Brings the device to a stand; see `Device`.
  public func quiesce() {
    transmitter.hold()
    receiver.hold()
  }

  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      VirtioState<NoExtra>.description(name: name, queueCount: 2, offered: features),
      instance: UInt32(instance), blank: { self.core.blank }, capture: { self.core.capture() },
      apply: { self.core.apply($0) })
  }
}

extension VirtioNetwork: VirtioFunction {
  // Features, by the specification's names.
  static let checksum: UInt64 = 1 << 0
  static let guestChecksum: UInt64 = 1 << 1
  static let hasAddress: UInt64 = 1 << 5
  static let guestSegmentation4: UInt64 = 1 << 7
  static let guestSegmentation6: UInt64 = 1 << 8
  static let hostSegmentation4: UInt64 = 1 << 11
  static let hostSegmentation6: UInt64 = 1 << 12
  static let mergedBuffers: UInt64 = 1 << 15
  static let hasStatus: UInt64 = 1 << 16

  var deviceID: UInt32 { 1 }

  var features: UInt64 {
    let always = Self.hasAddress | Self.hasStatus | Self.mergedBuffers
    guard port.hasHeader else { return always }
    return always | Self.checksum | Self.guestChecksum | Self.guestSegmentation4
      | Self.guestSegmentation6 | Self.hostSegmentation4 | Self.hostSegmentation6
  }

  func configuration(_ state: VirtioState<NoExtra>) -> [UInt8] {
    var bytes = address.bytes
    bytes.appendLittleEndian(1 as UInt16)  // the link is up
    bytes.appendLittleEndian(1 as UInt16)  // pairs of queues; not offered
    bytes.appendLittleEndian(1500 as UInt16)  // largest packet; not offered
    return bytes
  }

  func statusChanged(_ state: inout VirtioState<NoExtra>) {
    port.setOffloads(
      state.registers.isLive ? offloads(state.registers.driverFeatures) : [])
  }

  func notified(queue: Int) {
    (queue == Self.transmitQueue ? transmitter : receiver).kick()
  }

  func pauseWork() {
    transmitter.pause()
    receiver.pause()
  }

  func resumeWork() {
    transmitter.unpause()
    receiver.unpause()
  }

  func offloads(_ driverFeatures: UInt64) -> NetworkOffloads {
    guard driverFeatures & Self.guestChecksum != 0 else { return [] }
    var offloads: NetworkOffloads = .checksum
    if driverFeatures & Self.guestSegmentation4 != 0 { offloads.insert(.segmentation4) }
    if driverFeatures & Self.guestSegmentation6 != 0 { offloads.insert(.segmentation6) }
    return offloads
  }
}
