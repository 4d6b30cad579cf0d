// What a machine tells of itself to those who control it.

import Devices
public import GuestMemory
import KVM
import Synchronization

extension Machine: MachineControl {
  /// The machine type, as streams name it; the number grows when guests could tell a difference.
  public static let typeName = "godwit-pc-1"

  /// What the machine was made with.
  public var facts: MachineFacts {
    MachineFacts(
      name: configuration.name, uuid: configuration.uuid, machineType: Self.typeName,
      accelerator: accelerator.kind, processorLimit: MachineConfiguration.mostProcessors,
      mainMemoryBlock: MachineParts.memoryName, memoryByteCount: configuration.memoryByteCount)
  }

  /// The processors, in order.
  public var processors: [ProcessorFacts] {
    // Asking the kernel for a running processor's state would wait for its next exit.
    let isRunning = runState.isRunning
    return accelerator.threadIdentifiers.enumerated().map { index, identifier in
      let state = isRunning ? nil : try? kvm?.vcpus[index].mpState()
      return ProcessorFacts(threadIdentifier: identifier, isHalted: state == .halted)
    }
  }

  /// The registers of a processor, which is stopped for it where it runs.
  public func registers(ofProcessor index: Int) throws(MachineError) -> ProcessorRegisters {
    guard let kvm, kvm.vcpus.indices.contains(index) else {
      throw .configuration(
        kvm == nil
          ? "a stand-in (--accel synthetic) has no registers"
          : "there is no processor \(index): the machine has \(accelerator.processorCount)")
    }
    let vcpu = kvm.vcpus[index]
    return try whileStopped { () throws(MachineError) in
      do throws(KVMError) {
        return try ProcessorRegisters(of: vcpu)
      } catch {
        throw .kernel(action: "cannot read the registers of processor \(index)", reason: "\(error)")
      }
    }
  }

  /// The RAM blocks, in the order in which they migrate.
  public var ramBlocks: [RAMBlockFacts] {
    ram.blocks.map { block in
      var path: String?
      if case .privateFile(let file) = block.backing { path = file }
      return RAMBlockFacts(
        name: block.name, pageByteCount: block.pageSize, offset: block.ramOffset.rawValue,
        usedByteCount: UInt64(block.byteCount), hostAddress: UInt64(block.hostAddress),
        isShared: block.backing.isShared, path: path)
    }
  }

  /// What the guest sees at its physical addresses.
  public var memoryMap: [MappedRange] {
    memory.view.ranges.map { range in
      MappedRange(
        start: range.guest.start, byteCount: range.guest.byteCount,
        kind: range.ram == nil ? .io : range.isReadOnly ? .rom : .ram, name: range.region.name,
        offset: range.offsetInRegion)
    }
  }

  /// The regions as they are nested: all of them lie side by side in the machine's address space.
  public var memoryTree: [NestedRegion] {
    let root = memory.root
    let whole = MappedRange(
      start: GuestAddress(0), byteCount: root.byteCount, kind: .io, name: root.name)
    return [NestedRegion(depth: 0, range: whole)]
      + memoryMap.map { NestedRegion(depth: 1, range: $0) }
  }

  /// Copies guest memory.
  public func readMemory(
    at address: GuestAddress, byteCount: Int
  ) throws(MachineError) -> [UInt8] {
    do throws(GuestMemoryError) {
      return try memory.bytes(at: address, byteCount: byteCount)
    } catch {
      throw .kernel(action: "cannot read the guest's memory", reason: "\(error)")
    }
  }

  /// The disks.
  public var blockDevices: [BlockDeviceFacts] {
    parts.disks.enumerated().map { index, disk in
      let place = parts.virtio.firstIndex { $0 === disk } ?? index
      return BlockDeviceFacts(
        name: "disk\(index)", devicePath: "/machine/virtio-mmio/\(place)", path: disk.path,
        byteCount: disk.byteCount, isReadOnly: disk.isReadOnly)
    }
  }

  /// The balloon.
  public var balloon: BalloonFacts? {
    var facts = BalloonFacts(actualByteCount: parts.balloon.actualByteCount)
    if let (statistics, age) = parts.balloon.statistics {
      facts.statistics = statistics
      facts.age = age
    }
    facts.pollInterval = parts.balloon.pollInterval
    return facts
  }

  /// Asks the guest to shrink or grow.
  public func setBalloon(targetByteCount: UInt64) throws(MachineError) {
    parts.balloon.setTarget(byteCount: targetByteCount)
  }

  /// Has the guest asked for statistics.
  public func pollBalloonStatistics(every interval: Duration?) {
    parts.balloon.pollStatistics(every: interval)
  }
}

extension ProcessorRegisters {
  /// Reads the registers of a processor that does not run.
  init(of vcpu: KVMVCPU) throws(KVMError) {
    self.init()
    let general = try vcpu.generalRegisters()
    let special = try vcpu.specialRegisters()
    let debug = try vcpu.debugRegisters()
    self.general = [
      general.rax, general.rbx, general.rcx, general.rdx, general.rsi, general.rdi, general.rbp,
      general.rsp, general.r8, general.r9, general.r10, general.r11, general.r12, general.r13,
      general.r14, general.r15,
    ]
    instructionPointer = general.rip
    flags = general.rflags
    segments = [special.es, special.cs, special.ss, special.ds, special.fs, special.gs].map {
      Segment($0)
    }
    localTable = Segment(special.ldt)
    task = Segment(special.tr)
    globalTable = Table(base: special.gdt.base, limit: UInt32(special.gdt.limit))
    interruptTable = Table(base: special.idt.base, limit: UInt32(special.idt.limit))
    control = [special.cr0, special.cr2, special.cr3, special.cr4, special.cr8]
    self.debug = debug.addresses + [debug.dr6, debug.dr7]
    extendedFeatures = special.efer
    let kernelGSBase: UInt32 = 0xC000_0102
    self.kernelGSBase = try vcpu.modelSpecificRegisters([kernelGSBase]).first?.value ?? 0
    isHalted = try vcpu.mpState() == .halted
  }
}

extension ProcessorRegisters.Segment {
  /// A segment with its attributes where a descriptor has them.
  init(_ segment: SegmentRegister) {
    var attributes = UInt32(segment.type) << 8 | UInt32(segment.s) << 12
    attributes |= UInt32(segment.dpl) << 13 | UInt32(segment.present) << 15
    attributes |= UInt32(segment.avl) << 20 | UInt32(segment.l) << 21
    attributes |= UInt32(segment.db) << 22 | UInt32(segment.g) << 23
    self.init(
      selector: segment.selector, base: segment.base, limit: segment.limit,
      attributes: attributes)
  }
}
