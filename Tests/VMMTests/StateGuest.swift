// StateGuest.swift: a machine of one processor that counts, made of KVM's parts alone.

import Glibc
import KVM
import VMState

@testable import VMM

/// A processor in real mode that counts in EAX, and writes each number to memory and to a port.
final class StateGuest {
  static let byteCount = 64 << 10
  /// Whether this host lets the tests use KVM.
  static let isPossible = (try? KVMSystem()) != nil

  private static let code: [UInt8] = [
    0x66, 0x40,  // inc eax
    0x66, 0xa3, 0x00, 0x20,  // mov [0x2000], eax
    0xe7, 0x80,  // out 0x80, ax
    0xeb, 0xf6,  // jmp to the first
  ]

  let system: KVMSystem
  let machine: KVMVirtualMachine
  let vcpus: [KVMVCPU]
  let memory: UnsafeMutableRawPointer

  /// The first processor, which counts.
  var vcpu: KVMVCPU { vcpus[0] }

  init(copying other: StateGuest? = nil, processorCount: Int = 1) throws {
    system = try KVMSystem()
    machine = try system.makeVirtualMachine()
    try machine.makeIRQChip()
    try machine.makePIT2()
    memory = mmap(
      nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    try machine.setMemory(
      KVMMemorySlot(
        number: 0, guestAddress: 0, byteCount: UInt64(Self.byteCount),
        hostAddress: UInt(bitPattern: memory)))
    let machine = machine
    vcpus = try (0..<processorCount).map { try machine.makeVCPU(index: $0) }
    for vcpu in vcpus { try vcpu.setCPUID(system.supportedCPUID()) }
    if let other {
      memory.copyMemory(from: other.memory, byteCount: Self.byteCount)
      return
    }
    Self.code.withUnsafeBytes {
      memory.advanced(by: 0x1000).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
    }
    var special = try vcpu.specialRegisters()
    special.cs.base = 0
    special.cs.selector = 0
    try vcpu.setSpecialRegisters(special)
    var general = GeneralRegisters()
    general.rip = 0x1000
    general.rflags = 2
    try vcpu.setGeneralRegisters(general)
  }

  deinit { munmap(memory, Self.byteCount) }

  /// The next number that the guest writes to its port; the write is finished then.
  func nextNumber() throws -> UInt32 {
    while true {
      switch try vcpu.run() {
      case .portOutput(let access):
        let number = vcpu.portValue(access)
        _ = try vcpu.finishAccess()
        return number
      case .interrupted: continue
      case let exit: throw Unexpected(exit: exit)
      }
    }
  }

  struct Unexpected: Error {
    var exit: VCPUExit
  }

  /// All its state.
  func registry() throws -> VMStateRegistry {
    var registry = VMStateRegistry()
    let machine = machine
    let platform = PlatformState.sections(
      of: machine, readClock: { try machine.clock().nanoseconds },
      setClock: { try machine.setClock(nanoseconds: $0) })
    for section in platform { try registry.add(section) }
    for section in VCPUState.sections(of: vcpus) { try registry.add(section) }
    return registry
  }
}
