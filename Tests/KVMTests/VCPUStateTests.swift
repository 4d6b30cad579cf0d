// Every piece of state can be read, and what was read can be set, in the same and in another vCPU.

import KVM
import Testing

@Suite(.enabled(if: TinyGuest.isPossible, "needs /dev/kvm"), .serialized)
struct VCPUStateTests {
  private func guest() throws -> TinyGuest {
    try TinyGuest([0xf4]) { machine in
      try machine.makeIRQChip()
      try machine.makePIT2()
    }
  }

  @Test func `general registers keep every field`() throws {
    let guest = try guest()
    var registers = GeneralRegisters()
    let fields: [WritableKeyPath<GeneralRegisters, UInt64>] = [
      \.rax, \.rbx, \.rcx, \.rdx, \.rsi, \.rdi, \.rsp, \.rbp, \.r8, \.r9, \.r10, \.r11, \.r12,
      \.r13, \.r14, \.r15, \.rip,
    ]
    for (number, field) in fields.enumerated() {
      registers[keyPath: field] = 0x1111_2222_3333_0000 + UInt64(number)
    }
    registers.rflags = 0x202
    try guest.vcpu.setGeneralRegisters(registers)
    #expect(try guest.vcpu.generalRegisters() == registers)
  }

  @Test func `what was read of one machine can be set in another`() throws {
    let (source, target) = (try guest(), try guest())
    let cpuid = try source.system.supportedCPUID()
    try source.vcpu.setCPUID(cpuid)
    try target.vcpu.setCPUID(cpuid)
    #expect(try source.vcpu.cpuid().count == cpuid.count)

    var special = try source.vcpu.specialRegisters()
    special.fs.base = 0x1234_5000
    special.gdt.base = 0x7000
    special.gdt.limit = 0x27
    try target.vcpu.setSpecialRegisters(special)
    #expect(try target.vcpu.specialRegisters() == special)
    if source.machine.check(.specialRegisters2) != 0 {
      let special2 = try target.vcpu.specialRegisters2()
      #expect(special2.fs.base == 0x1234_5000 && special2.gdt == special.gdt)
      try source.vcpu.setSpecialRegisters2(special2)
      #expect(try source.vcpu.specialRegisters2() == special2)
    }

    var floating = try source.vcpu.floatingPoint()
    floating.xmm[17] = 0xab
    floating.registers[3] = 0x12
    try target.vcpu.setFloatingPoint(floating)
    #expect(try target.vcpu.floatingPoint().xmm == floating.xmm)

    if source.vcpu.extendedStateByteCount > 0 {
      var extended = try target.vcpu.extendedState()
      #expect(extended.count == source.vcpu.extendedStateByteCount)
      // The SSE registers are at byte 160 of the legacy area; byte 512 says what is in use.
      extended[160 + 17] = 0xcd
      extended[512] |= 3
      try source.vcpu.setExtendedState(extended)
      #expect(try source.vcpu.extendedState()[160 + 17] == 0xcd)
      #expect(try source.vcpu.floatingPoint().xmm[17] == 0xcd)
    }
    if source.machine.check(.xcrs) != 0 {
      let registers = try source.vcpu.extendedControlRegisters()
      try target.vcpu.setExtendedControlRegisters(registers)
      #expect(try target.vcpu.extendedControlRegisters() == registers)
    }

    let apic = try source.vcpu.localAPIC()
    #expect(apic.count == 1024)
    try target.vcpu.setLocalAPIC(apic)
    #expect(try target.vcpu.localAPIC() == apic)

    let events = try source.vcpu.events()
    try target.vcpu.setEvents(events)
    #expect(try target.vcpu.events() == events)
    #expect(try source.vcpu.mpState() == .runnable)
    try target.vcpu.setMPState(.halted)
    #expect(try target.vcpu.mpState() == .halted)

    var debug = try source.vcpu.debugRegisters()
    debug.addresses[2] = 0x4321
    try target.vcpu.setDebugRegisters(debug)
    #expect(try target.vcpu.debugRegisters() == debug)
    #expect(try source.vcpu.tscKilohertz() == target.vcpu.tscKilohertz())
  }

  @Test func `model-specific registers are read around those that are missing`() throws {
    let guest = try guest()
    let indices = try guest.system.modelSpecificRegisterIndices()
    let missing: UInt32 = 0xdead_0000
    let found = try guest.vcpu.modelSpecificRegisters([0x174, missing, 0x175] + indices)
    #expect(Array(found.map(\.index).prefix(2)) == [0x174, 0x175])
    #expect(found.count > indices.count / 2)
    // SYSENTER's stack is settable everywhere; one that does not exist is refused by name.
    try guest.vcpu.setModelSpecificRegisters([.init(index: 0x175, value: 0x8000)])
    #expect(try guest.vcpu.modelSpecificRegisters([0x175]) == [.init(index: 0x175, value: 0x8000)])
    #expect(throws: KVMError.refusedRegister(index: missing, value: 3)) {
      try guest.vcpu.setModelSpecificRegisters([
        .init(index: 0x175, value: 1), .init(index: missing, value: 3),
      ])
    }
  }

  @Test func `controllers, timer and clock can be read and set`() throws {
    let machine = try guest().machine
    var pic = try machine.pic(.slave)
    pic.imr = 0xa5
    pic.irqBase = 0x28
    try machine.setPIC(.slave, to: pic)
    #expect(try machine.pic(.slave) == pic)
    #expect(try machine.pic(.master).irqBase != 0x28)

    var ioapic = try machine.ioapic()
    #expect(ioapic.redirectionTable.count == 24)
    ioapic.redirectionTable[4] = 0x1_0031
    try machine.setIOAPIC(to: ioapic)
    #expect(try machine.ioapic().redirectionTable[4] & 0xff == 0x31)
    ioapic.redirectionTable = [1]
    #expect(
      throws: KVMError.wrongSize(
        of: "the redirection table of the I/O APIC", expected: 24, found: 1)
    ) { try machine.setIOAPIC(to: ioapic) }

    var timer = try machine.pit2()
    timer.channels[2].mode = 3
    timer.channels[2].count = 1000
    try machine.setPIT2(to: timer)
    #expect(try machine.pit2().channels[2].mode == 3)

    try machine.setClock(nanoseconds: 5_000_000_000)
    #expect((5_000_000_000...65_000_000_000).contains(try machine.clock().nanoseconds))
    try machine.setIRQLine(4, true)
    #expect(try machine.pic(.master).lastIRR & 0x10 != 0 || machine.pic(.master).irr & 0x10 != 0)
    try machine.setIRQLine(4, false)
  }

  @Test func `a piece of state of the wrong size is refused before the kernel sees it`() throws {
    let vcpu = try guest().vcpu
    #expect(throws: KVMError.wrongSize(of: "the local APIC", expected: 1024, found: 1)) {
      try vcpu.setLocalAPIC([0])
    }
    if vcpu.extendedStateByteCount > 0 {
      #expect(throws: KVMError.self) { try vcpu.setExtendedState([1, 2, 3]) }
    }
  }
}
