// VCPUStateTests.swift: a processor and its machine are moved while their guest computes.

import KVM
import Testing
import VMState
import Wire

@testable import VMM

@Suite(.enabled(if: StateGuest.isPossible, "needs /dev/kvm"), .serialized)
struct VCPUStateTests {
  @Test(.timeLimit(.minutes(1)))
  func `a guest counts on in another machine where it was stopped`() throws {
    let source = try StateGuest()
    for number in 1...20 as ClosedRange<UInt32> { #expect(try source.nextNumber() == number) }
    let state = try source.registry().save()
    let target = try StateGuest(copying: source)
    try target.registry().load(state)
    for number in 21...40 as ClosedRange<UInt32> { #expect(try target.nextNumber() == number) }
    #expect(target.memory.load(fromByteOffset: 0x2000, as: UInt32.self) == 40)
    #expect(try source.nextNumber() == 21, "saving has not disturbed the source")
  }

  @Test func `what a processor is comes back in another one`() throws {
    let source = try StateGuest()
    _ = try source.nextNumber()
    try disturb(source)
    let before = try VCPUState(of: source.vcpu)
    let target = try StateGuest(copying: source)
    try before.apply(to: target.vcpu)
    let after = try VCPUState(of: target.vcpu)
    #expect(after.general == before.general)
    #expect(after.special == before.special)
    #expect(after.extended == before.extended)
    #expect(after.extendedControl == before.extendedControl)
    #expect(after.debug == before.debug)
    #expect(after.events == before.events)
    #expect(after.runState == before.runState)
    #expect(after.tscKilohertz == before.tscKilohertz)
    #expect(after.cpuid == before.cpuid)
    #expect(withoutTimer(after.localAPIC) == withoutTimer(before.localAPIC))
    let counter = VCPUState.Register.timeStampCounter
    #expect(after.modelSpecific.map(\.index) == before.modelSpecific.map(\.index))
    for (new, old) in zip(after.modelSpecific, before.modelSpecific) {
      // The counter runs on; it must not run back.
      if old.index == counter {
        #expect(new.value >= old.value)
      } else {
        #expect(new == old, "register 0x\(String(old.index, radix: 16))")
      }
    }
  }

  @Test func `no processor's time runs back, however young the machines are`() throws {
    let source = try StateGuest(processorCount: 2)
    let end = ContinuousClock.now + .milliseconds(150)
    while ContinuousClock.now < end {}
    let saved = try source.registry().save()
    let target = try StateGuest(copying: source, processorCount: 2)
    try target.registry().load(saved)
    let restored = try target.vcpus.map(counter)
    let old = try saved.sections().filter { $0.header.name == "cpu" }.map { section in
      let state = try VCPUState.description.decode(section.payload, version: 1, into: VCPUState())
      return try #require(state.counter)
    }
    #expect(old[0] >= old[1], "the first is read last")
    #expect(restored[0] >= old[0] && restored[1] >= old[1], "\(old), then \(restored)")
    // The other processor was read later, and is in step with the first.
    let rate = UInt64(try target.vcpu.tscKilohertz()) * 1000
    #expect((restored[0]..<restored[0] + rate).contains(restored[1]))
  }

  private func counter(of vcpu: KVMVCPU) throws -> UInt64 {
    let index = VCPUState.Register.timeStampCounter
    return try #require(try vcpu.modelSpecificRegisters([index]).first).value
  }

  /// Gives the processor values that no reset leaves.
  private func disturb(_ guest: StateGuest) throws {
    var general = try guest.vcpu.generalRegisters()
    general.r15 = 0x1234_5678_9abc_def0
    try guest.vcpu.setGeneralRegisters(general)
    var special = try guest.vcpu.specialRegisters()
    special.fs.base = 0x5000
    special.idt.limit = 0x1ff
    special.cr2 = 0xdead
    try guest.vcpu.setSpecialRegisters(special)
    var floating = try guest.vcpu.floatingPoint()
    floating.xmm[33] = 0x77
    floating.controlWord = 0x27f
    try guest.vcpu.setFloatingPoint(floating)
    var debug = try guest.vcpu.debugRegisters()
    debug.addresses[1] = 0x4444
    try guest.vcpu.setDebugRegisters(debug)
    // SYSENTER's stack.
    try guest.vcpu.setModelSpecificRegisters([.init(index: 0x175, value: 0x8000)])
    var events = try guest.vcpu.events()
    events.nmiIsMasked = 1
    try guest.vcpu.setEvents(events)
    var apic = try guest.vcpu.localAPIC()
    apic[0x80] = 0x20  // the task priority
    try guest.vcpu.setLocalAPIC(apic)
  }

  /// The local APIC's page without the timer's current count.
  private func withoutTimer(_ page: [UInt8]) -> [UInt8] {
    page.enumerated().map { (0x390..<0x394).contains($0.offset) ? 0 : $0.element }
  }

  @Test func `interrupt controllers, timer and clock come back`() throws {
    let source = try StateGuest()
    var pic = try source.machine.pic(.slave)
    pic.imr = 0xa5
    pic.irqBase = 0x70
    try source.machine.setPIC(.slave, to: pic)
    var ioapic = try source.machine.ioapic()
    ioapic.redirectionTable[4] = 0x1_0031
    try source.machine.setIOAPIC(to: ioapic)
    var timer = try source.machine.pit2()
    timer.channels[2].mode = 3
    timer.channels[2].count = 1193
    try source.machine.setPIT2(to: timer)
    try source.machine.setClock(nanoseconds: 3_600_000_000_000)

    let state = try source.registry().save()
    let target = try StateGuest(copying: source)
    try target.registry().load(state)
    #expect(try target.machine.pic(.slave) == pic)
    #expect(try target.machine.pic(.master) == source.machine.pic(.master))
    #expect(
      try target.machine.ioapic().redirectionTable == source.machine.ioapic().redirectionTable)
    let restored = try target.machine.pit2().channels[2]
    #expect(restored.mode == 3 && restored.count == 1193)
    #expect(
      (3_600_000_000_000...3_660_000_000_000).contains(try target.machine.clock().nanoseconds))
  }

  @Test func `every register is described by its name`() throws {
    let source = try StateGuest()
    _ = try source.nextNumber()
    let state = try source.registry().save()
    let sections = try state.sections()
    #expect(
      sections.map(\.header.name) == ["cpu", "i8259", "i8259", "ioapic", "i8254", "kvmclock"])
    for section in sections {
      let fields = try section.fields()
      #expect(!fields.contains { $0.type == "undescribed" }, "\(section.header.name)")
    }
    let cpu = try sections[0].fields()
    guard case .structure(let general)? = cpu.first(where: { $0.name == "general" })?.value else {
      Issue.record("the general registers are not a structure")
      return
    }
    #expect(general.first { $0.name == "rax" }?.value == .unsigned(1))
  }

  @Test func `a damaged state changes no processor`() throws {
    let source = try StateGuest()
    let state = try source.registry().save()
    let target = try StateGuest(copying: source)
    let before = try target.vcpu.generalRegisters()
    for count in stride(from: 0, to: state.bytes.count, by: 97) {
      let part = DeviceState(
        bytes: Array(state.bytes[..<count]), description: state.description)
      #expect(throws: VMStateError.self) { try target.registry().load(part) }
    }
    #expect(try target.vcpu.generalRegisters() == before)
  }

  @Test func `a guest that was promised more than the host has is refused`() throws {
    let source = try StateGuest()
    let host = try source.system.supportedCPUID()
    let own = try source.vcpu.cpuid()
    var state = try VCPUState(of: source.vcpu)
    try state.checkFeatures(against: host, own: own)
    let place = try #require(state.cpuid.firstIndex { $0.function == 7 && $0.index == 0 })
    let offered = [host, own].compactMap { list in
      list.first { $0.function == 7 && $0.index == 0 }?.ebx
    }
    let missing = try #require(
      (0..<32).map { UInt32(1) << $0 }.first { (offered[0] | offered[1]) & $0 == 0 })
    state.cpuid[place].ebx |= missing
    #expect(
      throws: VCPUStateError.missingFeatures(leaf: 7, register: "EBX", bits: missing)
    ) { try state.checkFeatures(against: host, own: own) }
    var other = try VCPUState(of: source.vcpu)
    let maker = try #require(other.cpuid.firstIndex { $0.function == 0 })
    other.cpuid[maker].ebx ^= 1
    #expect(throws: VCPUStateError.otherMaker) { try other.checkFeatures(against: host) }
  }
}
