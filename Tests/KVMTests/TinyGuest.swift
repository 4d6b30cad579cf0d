// A machine of a few pages, whose guest is a handful of instructions in real mode.

import Glibc
import KVM

/// Memory, a vCPU in real mode at address 0x1000, and the code there.
final class TinyGuest {
  static let byteCount = 64 << 10
  let system: KVMSystem
  let machine: KVMVirtualMachine
  let vcpu: KVMVCPU
  let memory: UnsafeMutableRawPointer

  /// - Parameter code: 16-bit machine code, placed at 0x1000.
  init(_ code: [UInt8], prepare: (KVMVirtualMachine) throws -> Void = { _ in }) throws {
    system = try KVMSystem()
    machine = try system.makeVirtualMachine()
    try prepare(machine)
    let memory = mmap(
      nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    for (offset, byte) in code.enumerated() {
      memory.storeBytes(of: byte, toByteOffset: 0x1000 + offset, as: UInt8.self)
    }
    self.memory = memory
    try machine.setMemory(
      KVMMemorySlot(
        number: 0, guestAddress: 0, byteCount: UInt64(Self.byteCount),
        hostAddress: UInt(bitPattern: memory)))
    vcpu = try machine.makeVCPU(index: 0)
    var special = try vcpu.specialRegisters()
    special.cs.base = 0
    special.cs.selector = 0
    try vcpu.setSpecialRegisters(special)
    var general = try vcpu.generalRegisters()
    general.rip = 0x1000
    general.rflags = 2
    try vcpu.setGeneralRegisters(general)
  }

  deinit {
    munmap(memory, Self.byteCount)
  }

  /// Whether this host lets the tests use KVM.
  static let isPossible = (try? KVMSystem()) != nil
}
