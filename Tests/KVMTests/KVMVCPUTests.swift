// A vCPU runs code, exits, is kicked, and its state can be moved.

import KVM
import Synchronization
import Testing
import Transport

@Suite(.enabled(if: TinyGuest.isPossible, "needs /dev/kvm"), .serialized)
struct KVMVCPUTests {
  @Test(.timeLimit(.minutes(1))) func `port accesses exit with their values and take answers`()
    throws
  {
    let guest = try TinyGuest([
      0xba, 0xf8, 0x03,  // mov dx, 0x3f8
      0xb0, 0x41,  // mov al, 0x41
      0xee,  // out dx, al
      0xec,  // in al, dx
      0xa2, 0x00, 0x20,  // mov [0x2000], al
      0xf4,  // hlt
    ])
    guard case .portOutput(let output) = try guest.vcpu.run() else {
      Issue.record("no write to a port")
      return
    }
    #expect(output.port == 0x3f8 && output.byteCount == 1 && output.count == 1)
    #expect(guest.vcpu.portValue(output) == 0x41)
    #expect(guest.vcpu.portValue(output, at: 1) == 0, "beyond what it moves")
    guard case .portInput(let input) = try guest.vcpu.run() else {
      Issue.record("no read of a port")
      return
    }
    guest.vcpu.setPortValue(0x5a, for: input)
    #expect(try guest.vcpu.run() == .halted)
    #expect(guest.memory.load(fromByteOffset: 0x2000, as: UInt8.self) == 0x5a)
  }

  @Test(.timeLimit(.minutes(1))) func `accesses outside all slots exit with address and value`()
    throws
  {
    let guest = try TinyGuest([
      0xb8, 0x00, 0x20,  // mov ax, 0x2000
      0x8e, 0xd8,  // mov ds, ax: base 0x20000
      0xc7, 0x06, 0x10, 0x00, 0x34, 0x12,  // mov word [0x10], 0x1234
      0xa1, 0x20, 0x00,  // mov ax, [0x20]
      0x2e, 0xa3, 0x00, 0x30,  // mov cs:[0x3000], ax
      0xf4,
    ])
    #expect(try guest.vcpu.run() == .mmioWrite(address: 0x20010, byteCount: 2, value: 0x1234))
    #expect(try guest.vcpu.run() == .mmioRead(address: 0x20020, byteCount: 2))
    guest.vcpu.setMMIOValue(0xbeef)
    #expect(try guest.vcpu.run() == .halted)
    #expect(guest.memory.load(fromByteOffset: 0x3000, as: UInt16.self) == 0xbeef)
  }

  @Test(.timeLimit(.minutes(1))) func `an access is finished without running further`() throws {
    let guest = try TinyGuest([0xe4, 0x70, 0xf4])  // in al, 0x70; hlt
    guard case .portInput(let input) = try guest.vcpu.run() else {
      Issue.record("no read of a port")
      return
    }
    guest.vcpu.setPortValue(0x77, for: input)
    #expect(try guest.vcpu.finishAccess() == nil)
    let registers = try guest.vcpu.generalRegisters()
    #expect(registers.rax & 0xff == 0x77)
    #expect(registers.rip == 0x1002)
    #expect(try guest.vcpu.run() == .halted)
  }

  @Test(.timeLimit(.minutes(1))) func `a kick before the run ends it, and only it`() throws {
    let guest = try TinyGuest([0xf4])
    guest.vcpu.kick()
    #expect(try guest.vcpu.run() == .interrupted)
    #expect(try guest.vcpu.run() == .halted)
  }

  @Test(.timeLimit(.minutes(1))) func `a kick from another thread ends an endless loop`() throws {
    let guest = try TinyGuest([0xeb, 0xfe])  // jmp $
    let vcpu = guest.vcpu
    let exits = Mutex<[VCPUExit]>([])
    for round in 1...5 {
      let thread = try NamedThread(name: "vcpu") {
        let exit = try? vcpu.run()
        exits.withLock { $0.append(exit ?? .nmi) }
      }
      // Some rounds kick before the thread has got to its run, some after.
      if round % 2 == 0 { usleepBriefly() }
      vcpu.kick()
      thread.join()
    }
    #expect(exits.withLock { $0 } == Array(repeating: .interrupted, count: 5))
  }

  @Test(.timeLimit(.minutes(1))) func `a triple fault shuts the machine down`() throws {
    let guest = try TinyGuest([0x0f, 0x0b])  // ud2, in protected mode, with no interrupt table
    var special = try guest.vcpu.specialRegisters()
    special.cr0 |= 1
    special.cs.type = 0xb
    special.cs.db = 1
    special.cs.g = 1
    special.cs.limit = 0xffff_ffff
    special.idt.limit = 0
    try guest.vcpu.setSpecialRegisters(special)
    let exit = try guest.vcpu.run()
    #expect(exit == .shutdown, "\(exit)")
  }
}

private func usleepBriefly() {
  let end = ContinuousClock.now + .milliseconds(20)
  while ContinuousClock.now < end {}
}
