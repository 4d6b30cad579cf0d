// The parts of a machine: memory, ports, devices, and how they are wired.

import Devices
import GuestMemory

/// A machine's memory and devices, wired to each other.
final class MachineParts: Sendable {
  /// The name of the guest's memory in streams, as QEMU's PCs have it.
  static let memoryName = "pc.ram"
  private static let clockPort: UInt16 = 0x70
  private static let serialPort: UInt16 = 0x3F8

  let layout: GuestLayout
  let ram: RAMList
  let memory: AddressSpace
  /// The pages that need not travel.
  let excluded: ExcludedPages
  let mainBlock: RAMBlock
  let ports: PortBus
  let serial: SerialPort
  let power: PowerManagement
  /// The virtio devices by number, each at its address with its interrupt.
  let virtio: [any VirtioDevice]
  let balloon: VirtioBalloon
  let disks: [VirtioBlock]
  /// All devices, in the order in which they are reset and resumed.
  let devices: [any Device]

  /// Puts the parts together.
  ///
  /// - Parameters:
  ///   - configuration: what the machine is to have.
  ///   - line: makes the interrupt line of a number.
  ///   - post: takes what the guest wants of the machine.
  init(
    _ configuration: MachineConfiguration, line: (UInt32) -> InterruptLine,
    post: @escaping @Sendable (GuestRequest) -> Void
  ) throws(MachineError) {
    layout = GuestLayout(memoryByteCount: configuration.memoryByteCount)
    ram = RAMList()
    let root = MemoryRegion.container(name: "system", byteCount: 1 << 52)
    memory = AddressSpace(name: "memory", root: root, ram: ram)
    mainBlock = try Self.makeMemory(configuration, layout, ram: ram, root: root)
    excluded = ExcludedPages(of: ram)
    let exclusion = ExclusionRegisters(memory: memory, excluded: excluded)
    let request: @Sendable (PowerRequest) -> Void = { request in
      post(request == .reset ? .reset : .shutdown)
    }
    do throws(DeviceError) {
      serial = try SerialPort(
        backend: configuration.serial, line: line(GuestLayout.serialInterrupt))
      let clock = try RealTimeClock(line: line(GuestLayout.clockInterrupt))
      power = PowerManagement(line: line(GuestLayout.powerInterrupt), request: request)
      let resetControl = ResetControlRegister(request: request)
      var ports = PortBus()
      ports.add(serial, at: Self.serialPort, count: SerialPort.portCount)
      ports.add(clock, at: Self.clockPort, count: RealTimeClock.portCount)
      ports.add(power, at: PowerManagement.firstPort, count: PowerManagement.portCount)
      ports.add(
        resetControl, at: ResetControlRegister.firstPort, count: ResetControlRegister.portCount)
      ports.add(
        KeyboardResetPorts(request: request), at: KeyboardResetPorts.firstPort,
        count: KeyboardResetPorts.portCount)
      self.ports = ports
      let virtioDevices = try VirtioDevices(configuration, memory: memory, line: line)
      virtio = virtioDevices.all
      balloon = virtioDevices.balloon
      // On a vCPU's thread, which must not wait for those who are told.
      balloon.onChange { post(.balloonChanged(actualByteCount: $0)) }
      disks = virtioDevices.disks
      devices =
        [serial, clock, power, resetControl, exclusion] + virtio.map { $0 as any Device }
    } catch {
      throw .device("\(error)")
    }
    let page = DemonstrationPage(serial: serial)
    try placeRegisters(in: root, page, exclusion)
  }

  /// Makes the guest's memory and shows it below 3 GiB and from 4 GiB on.
  private static func makeMemory(
    _ configuration: MachineConfiguration, _ layout: GuestLayout, ram: RAMList,
    root: MemoryRegion
  ) throws(MachineError) -> RAMBlock {
    do throws(GuestMemoryError) {
      let block = try ram.add(
        name: memoryName, byteCount: Int(layout.memoryByteCount),
        backing: configuration.backing)
      root.addSubregion(
        .ram(name: "ram-low", block: block, offset: 0, byteCount: Int(layout.lowByteCount)), at: 0)
      if layout.highByteCount > 0 {
        root.addSubregion(
          .ram(
            name: "ram-high", block: block, offset: Int(layout.lowByteCount),
            byteCount: Int(layout.highByteCount)),
          at: GuestLayout.highMemoryStart)
      }
      return block
    } catch {
      throw .memory(byteCount: configuration.memoryByteCount, reason: "\(error)")
    }
  }

  /// The virtio devices of a machine.
  private struct VirtioDevices {
    var all: [any VirtioDevice] = []
    let balloon: VirtioBalloon
    var disks: [VirtioBlock] = []

    /// Makes them; their order is part of what a saved machine expects, as addresses and
    /// interrupts go by it.
    init(
      _ configuration: MachineConfiguration, memory: AddressSpace, line: (UInt32) -> InterruptLine
    ) throws(DeviceError) {
      var lines = GuestLayout.virtioInterrupts.map(line)[...]
      func next() -> InterruptLine { lines.popFirst() ?? InterruptLine { _ in } }
      all.append(VirtioEntropy(memory: memory, line: next()))
      balloon = try VirtioBalloon(
        memory: memory, line: next(), ramByteCount: configuration.memoryByteCount)
      all.append(balloon)
      all.append(
        try VirtioConsole(memory: memory, line: next(), backend: configuration.console))
      for (index, disk) in configuration.disks.enumerated() {
        let device = try VirtioBlock(
          memory: memory, line: next(), path: disk.path, isReadOnly: disk.isReadOnly,
          serial: "disk\(index)", instance: index)
        disks.append(device)
        all.append(device)
      }
      for (index, tap) in configuration.taps.enumerated() {
        all.append(
          try VirtioNetwork(
            memory: memory, line: next(), tap: tap, address: MACAddress(index: index),
            instance: index))
      }
    }
  }

  /// Puts the devices' registers in their places; the view is in force when this returns.
  private func placeRegisters(
    in root: MemoryRegion, _ page: DemonstrationPage, _ exclusion: ExclusionRegisters
  ) throws(MachineError) {
    do throws(GuestMemoryError) {
      try memory.transaction { () throws(GuestMemoryError) in
        for (index, device) in virtio.enumerated() {
          root.addSubregion(
            .mmio(name: "\(device.name)-\(index)", byteCount: 0x1000, handler: device),
            at: GuestLayout.virtioAddress(index).rawValue)
        }
        root.addSubregion(
          .mmio(
            name: "demonstration", byteCount: DemonstrationPage.byteCount, handler: page),
          at: GuestLayout.demonstrationPage.rawValue)
        root.addSubregion(
          .mmio(
            name: "page-exclusion", byteCount: ExclusionRegisters.byteCount, handler: exclusion),
          at: GuestLayout.exclusionRegisters.rawValue)
      }
    } catch {
      throw .kernel(action: "cannot lay out the machine's memory", reason: "\(error)")
    }
  }

  /// The tables by which a guest finds the devices.
  func firmwareTables(processorCount: Int) -> FirmwareTables {
    let places = virtio.indices.map { index in
      (GuestLayout.virtioAddress(index), GuestLayout.virtioInterrupts[index])
    }
    return FirmwareTables(
      FirmwareTables.Machine(processorCount: processorCount, virtioDevices: places),
      at: GuestLayout.firmwareTables)
  }

  /// Lets the devices work, or returns once none does.
  func setQuiet(_ isQuiet: Bool) {
    for device in devices {
      if isQuiet { device.quiesce() } else { device.resume() }
    }
  }

  /// Takes devices and memory apart: a device knows the memory, and the memory shows the device, so
  /// that neither would ever be given back.
  func dismantle() {
    // Nobody is told: slots go with the machine in the kernel.
    try? memory.transaction {
      for region in memory.view.ranges.filter({ $0.ram == nil }).map(\.region) {
        memory.root.removeSubregion(region)
      }
    }
  }
}
