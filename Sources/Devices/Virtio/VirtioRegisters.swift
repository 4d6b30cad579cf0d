// The registers of virtio's MMIO transport, version 2.

/// Features of the transport itself.
enum VirtioFeature {
  /// Descriptors may be in a table of their own.
  static let indirect: UInt64 = 1 << 28
  /// Driver and device say which entry they want to be told of.
  static let events: UInt64 = 1 << 29
  /// Virtio 1.0 or later; nothing else is spoken here.
  static let version1: UInt64 = 1 << 32
  /// What every device here offers.
  static let transport = indirect | events | version1
}

/// What a driver negotiated with a device, and its queues.
struct VirtioRegisters: Equatable, Sendable {
  // Bits of the status register.
  static let featuresOK: UInt8 = 8
  static let driverOK: UInt8 = 4
  static let needsReset: UInt8 = 0x40
  // Bits of the interrupt status register.
  static let queueInterrupt: UInt32 = 1
  static let configurationInterrupt: UInt32 = 2

  var status: UInt8 = 0
  var driverFeatures: UInt64 = 0
  var deviceFeatureSelect: UInt32 = 0
  var driverFeatureSelect: UInt32 = 0
  var queueSelect: UInt32 = 0
  var interruptStatus: UInt32 = 0
  var configurationGeneration: UInt32 = 0
  var queues: [VirtioQueue]

  init(queueCapacities: [UInt16]) {
    queues = queueCapacities.map { VirtioQueue(capacity: $0) }
  }

  /// Whether the driver has the device working.
  var isLive: Bool { status & Self.driverOK != 0 && status & Self.needsReset == 0 }
  var usesEvents: Bool { driverFeatures & VirtioFeature.events != 0 }

  /// Back to the state at power-on; the generation goes on, so that no change is missed.
  mutating func reset() {
    let generation = configurationGeneration
    self = VirtioRegisters(queueCapacities: queues.map(\.capacity))
    configurationGeneration = generation
  }

  /// Takes a new status from the driver; features it cannot have are refused by leaving the bit
  /// that confirms them out.
  mutating func writeStatus(_ value: UInt8, offered: UInt64) {
    var value = value & 0x8f
    let isKnown = driverFeatures & ~offered == 0
    if value & Self.featuresOK != 0 && status & Self.featuresOK == 0,
      !isKnown || driverFeatures & VirtioFeature.version1 == 0
    {
      value &= ~Self.featuresOK
    }
    status = value | status & Self.needsReset
  }

  /// Reads a register below the configuration space.
  func read(_ offset: UInt64, deviceID: UInt32, offered: UInt64) -> UInt32 {
    switch offset {
    case 0x000: 0x7472_6976  // "virt"
    case 0x004: 2
    case 0x008: deviceID
    case 0x00c: 0x4457_4447  // "GDWD"
    case 0x010:
      deviceFeatureSelect > 1
        ? 0 : UInt32(truncatingIfNeeded: offered >> UInt64(32 * deviceFeatureSelect))
    case 0x034: UInt32(selectedQueue?.capacity ?? 0)
    case 0x044: selectedQueue?.isReady == true ? 1 : 0
    case 0x060: interruptStatus
    case 0x070: UInt32(status)
    // There is no shared memory: length and address of every region read as all ones.
    case 0x0b0, 0x0b4, 0x0b8, 0x0bc: .max
    case 0x0fc: configurationGeneration
    default: 0
    }
  }

  /// Writes a register that concerns nobody but the transport.
  mutating func write(_ offset: UInt64, _ value: UInt32) {
    switch offset {
    case 0x014: deviceFeatureSelect = value
    case 0x020 where status & Self.featuresOK == 0 && driverFeatureSelect < 2:
      let shift = UInt64(32 * driverFeatureSelect)
      driverFeatures =
        driverFeatures & ~(0xffff_ffff << shift) | UInt64(value) << shift
    case 0x024: driverFeatureSelect = value
    case 0x030: queueSelect = value
    case 0x064: interruptStatus &= ~value
    case 0x038, 0x044, 0x080...0x0a4: writeQueue(offset, value)
    default: break
    }
  }

  private var selectedQueue: VirtioQueue? {
    queueSelect < queues.count ? queues[Int(queueSelect)] : nil
  }

  private mutating func writeQueue(_ offset: UInt64, _ value: UInt32) {
    guard queueSelect < queues.count else { return }
    let index = Int(queueSelect)
    if offset == 0x044 {
      queues[index].isReady = value & 1 != 0 && queues[index].isWellFormed
      return
    }
    // Where a queue is cannot change while it is in use.
    guard !queues[index].isReady else { return }
    func replacingLow(_ old: UInt64) -> UInt64 { old & ~0xffff_ffff | UInt64(value) }
    func replacingHigh(_ old: UInt64) -> UInt64 { old & 0xffff_ffff | UInt64(value) << 32 }
    switch offset {
    case 0x038: queues[index].size = UInt16(clamping: value)
    case 0x080: queues[index].descriptors = replacingLow(queues[index].descriptors)
    case 0x084: queues[index].descriptors = replacingHigh(queues[index].descriptors)
    case 0x090: queues[index].available = replacingLow(queues[index].available)
    case 0x094: queues[index].available = replacingHigh(queues[index].available)
    case 0x0a0: queues[index].used = replacingLow(queues[index].used)
    case 0x0a4: queues[index].used = replacingHigh(queues[index].used)
    default: break
    }
  }
}
