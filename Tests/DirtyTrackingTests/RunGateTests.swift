// While the gate is closed no vCPU runs, whoever closes it.

import DirtyTracking
import GuestMemory
import KVM
import Synchronization
import Testing
import Transport

@Suite(.enabled(if: Host.kvm != nil, "needs /dev/kvm"), .serialized)
struct RunGateTests {
  @Test(.timeLimit(.minutes(1))) func `a closed gate keeps all vCPUs out, nested too`() throws {
    let machine = try #require(Host.kvm).makeVirtualMachine()
    let block = try RAMList().add(name: "ram", byteCount: 1 << 16)
    // jmp $
    try block.write(offset: 0x1000, ([0xeb, 0xfe] as [UInt8]).span.bytes)
    try machine.setMemory(
      KVMMemorySlot(
        number: 0, guestAddress: 0, byteCount: 1 << 16, hostAddress: block.hostAddress))
    let gate = RunGate()
    let isEnding = Atomic<Bool>(false)
    let exits = Atomic<Int>(0)
    var vcpus: [KVMVCPU] = []
    for index in 0..<2 {
      let vcpu = try machine.makeVCPU(index: index)
      var special = try vcpu.specialRegisters()
      special.cs.base = 0
      special.cs.selector = 0
      try vcpu.setSpecialRegisters(special)
      var general = GeneralRegisters()
      general.rip = 0x1000
      general.rflags = 2
      try vcpu.setGeneralRegisters(general)
      vcpus.append(vcpu)
    }
    let threads = try vcpus.map { vcpu in
      try NamedThread(name: "vcpu") {
        while !isEnding.load(ordering: .acquiring), (try? gate.run(vcpu)) == .interrupted {
          exits.add(1, ordering: .relaxed)
        }
      }
    }
    for _ in 0..<50 {
      gate.withVCPUsPaused {
        gate.withVCPUsPaused {
          // A vCPU inside KVM_RUN would make these wait for its exit, which never comes by itself.
          for vcpu in vcpus { #expect((try? vcpu.generalRegisters().rip) == 0x1000) }
        }
        let before = exits.load(ordering: .relaxed)
        for vcpu in vcpus { _ = try? vcpu.specialRegisters() }
        #expect(exits.load(ordering: .relaxed) - before <= 2, "at most those still on the way out")
      }
    }
    isEnding.store(true, ordering: .releasing)
    for vcpu in vcpus { vcpu.kick() }
    for thread in threads { thread.join() }
  }
}
