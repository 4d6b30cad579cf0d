// What virtio devices have in common, towards the machine and among themselves.

public import GuestMemory

/// A virtio device behind the MMIO transport (version 2, "modern").
///
/// The machine places it at an address of its own, `mmioByteCount` bytes long, and wires its line.
public protocol VirtioDevice: Device, MMIOHandler {
  /// The name its state travels under ("virtio-blk").
  var name: String { get }
}

extension VirtioDevice {
  /// The size of the registers and configuration space of any virtio device, in bytes.
  public static var mmioByteCount: UInt64 { 0x200 }
}

/// What a kind of device adds to the transport; the core calls it.
protocol VirtioFunction: AnyObject, Sendable {
  /// State of its own that travels with the registers and queues.
  associatedtype Extra: Sendable

  /// The device's number in the specification.
  var deviceID: UInt32 { get }
  /// Features beyond the transport's own.
  var features: UInt64 { get }
  /// The configuration space as it is now; called with the device locked.
  func configuration(_ state: VirtioState<Extra>) -> [UInt8]
  /// Takes what the driver wrote to the configuration space; called with the device locked.
  func configure(offset: Int, bytes: [UInt8], _ state: inout VirtioState<Extra>)
  /// The driver says that a queue holds something new; called on a vCPU's thread, unlocked.
  func notified(queue: Int)
  /// The driver began or ended to use the device; called with the device locked.
  func statusChanged(_ state: inout VirtioState<Extra>)
  /// Brings the device's threads to a stand, and lets them go on; called unlocked.
  func pauseWork()
  func resumeWork()
}

extension VirtioFunction {
  func configure(offset: Int, bytes: [UInt8], _ state: inout VirtioState<Extra>) {}
  func statusChanged(_ state: inout VirtioState<Extra>) {}
  func pauseWork() {}
  func resumeWork() {}
}

/// A device's state: the transport's registers and queues, and what the device adds.
struct VirtioState<Extra: Sendable>: Sendable {
  var registers: VirtioRegisters
  var extra: Extra
}

/// What a device without state of its own adds.
struct NoExtra: Sendable, Equatable {}
