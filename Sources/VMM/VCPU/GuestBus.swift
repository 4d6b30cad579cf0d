// Where a processor's accesses to ports and registers go.

import GuestMemory
import KVM

/// Where a processor's accesses to ports and registers go.
struct GuestBus: Sendable {
  let memory: AddressSpace
  let ports: PortBus

  /// Answers a port access of a processor, by string instructions too.
  func output(_ access: VCPUExit.PortAccess, of vcpu: KVMVCPU) {
    for index in 0..<access.count {
      ports.write(
        access.port, byteCount: access.byteCount, value: vcpu.portValue(access, at: index))
    }
  }

  func input(_ access: VCPUExit.PortAccess, of vcpu: KVMVCPU) {
    for index in 0..<access.count {
      vcpu.setPortValue(
        ports.read(access.port, byteCount: access.byteCount), for: access, at: index)
    }
  }
}
