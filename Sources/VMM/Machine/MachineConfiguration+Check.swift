// What cannot be asked for, whatever the host.

extension MachineConfiguration {
  /// The unit of a machine's memory: pages of 2 MiB, in which it is mapped.
  public static let memoryUnit: UInt64 = 2 << 20
  /// The least memory, which the boot protocols need.
  public static let leastMemory: UInt64 = 2 << 20
  /// The most memory: what 46 bits of address reach.
  public static let mostMemory: UInt64 = 1 << 46

  /// The most processors.
  public static let mostProcessors = 64
  /// How many disks and network interfaces there can be: an interrupt for each, beside those of
  /// the entropy source, the balloon and the console.
  public static let mostExtraDevices = GuestLayout.virtioInterrupts.count - 3

  /// Whether images are put into memory when the machine is built: not for one whose state comes
  /// from elsewhere, nor for a stand-in.
  var bootsNow: Bool { incoming == nil && accelerator != .synthetic }

  /// Checks what does not depend on the host.
  ///
  /// - Throws: ``MachineError`` with a sentence about what was asked wrong.
  func check() throws(MachineError) {
    guard memoryByteCount >= Self.leastMemory, memoryByteCount <= Self.mostMemory else {
      throw .memory(
        byteCount: memoryByteCount, reason: "a machine has from 2 MiB to 64 TiB of it")
    }
    guard memoryByteCount % Self.memoryUnit == 0 else {
      throw .memory(byteCount: memoryByteCount, reason: "it has to be a multiple of 2 MiB")
    }
    guard processorCount >= 1 else {
      throw .processors(count: processorCount, most: Self.mostProcessors)
    }
    guard disks.count + taps.count <= Self.mostExtraDevices else {
      throw .configuration(
        "the machine has room for \(Self.mostExtraDevices) disks and network interfaces in all, "
          + "not for \(disks.count + taps.count)")
    }
    if accelerator == .synthetic {
      guard case .demonstration = boot else {
        throw .configuration(
          "'--accel synthetic' executes no code, it only imitates the demonstration's guest: "
            + "give --demo-guest, or use --accel kvm")
      }
    }
    if case .flat(let path, let address) = boot, address >= memoryByteCount {
      throw .boot(path: path, reason: "its address lies beyond the machine's memory")
    }
  }
}
