// VCPUStateCounters.swift: the time stamp counters of all processors, read at one moment.

import KVM
import Synchronization

/// The time stamp counters of a machine's processors.
///
/// Reading a whole processor takes a while, and the counters go on meanwhile. Taken each with its
/// processor, those of the later ones would be ahead, and would run back in a machine that keeps
/// processors in step. So they are read together, the first processor's last: it is the one that
/// the others are brought into step with, and none may have been ahead of it.
final class VCPUStateCounters: Sendable {
  private let vcpus: [KVMVCPU]
  private let values = Mutex<[Int: UInt64]>([:])

  /// Reads nothing yet.
  init(of vcpus: [KVMVCPU]) { self.vcpus = vcpus }

  /// The counter of a processor; of all at the moment of asking for the first one's.
  func value(of vcpu: KVMVCPU) throws(KVMError) -> UInt64? {
    if vcpu.index == vcpus.first?.index {
      var read: [Int: UInt64] = [:]
      for vcpu in vcpus.reversed() {
        let found = try vcpu.modelSpecificRegisters([VCPUState.Register.timeStampCounter])
        read[vcpu.index] = found.first?.value
      }
      let all = read
      values.withLock { $0 = all }
    }
    return values.withLock { $0[vcpu.index] }
  }
}
