// What a machine consists of on this host: an accelerator, and parts that are wired to it.

import Devices
import DirtyTracking
import GuestMemory
import KVM
import Transport

/// A machine's accelerator and parts, wired to each other.
struct Hardware {
  let parts: MachineParts
  let accelerator: any Accelerator

  /// Makes both.
  ///
  /// - Parameters:
  ///   - configuration: what the machine is to be.
  ///   - requests: takes what the guest wants of the machine.
  init(_ configuration: MachineConfiguration, requests: GuestRequests) throws(MachineError) {
    switch configuration.accelerator ?? .kvm {
    case .kvm: self = try .onKVM(configuration, requests: requests)
    case .synthetic: self = try .onKVM(configuration, requests: requests)
    }
  }

  private init(_ parts: MachineParts, _ accelerator: any Accelerator) {
    self.parts = parts
    self.accelerator = accelerator
  }

  /// A machine whose processors are run by the kernel.
  private static func onKVM(
    _ configuration: MachineConfiguration, requests: GuestRequests
  ) throws(MachineError) -> Hardware {
    let count = configuration.processorCount
    let host: KVMAccelerator.Host
    do throws(KVMError) {
      host = try KVMAccelerator.Host()
    } catch {
      throw .noAccelerator(sentence(about: error))
    }
    let most = max(1, min(host.system.check(.maximumVCPUCount), 64))
    guard count <= most else { throw .processors(count: count, most: most) }
    let machine = host.machine
    let parts = try MachineParts(
      configuration,
      line: { number in
        // A line that cannot be set belongs to a machine that is being taken apart.
        InterruptLine { level in try? machine.setIRQLine(number, level) }
      }, post: { requests.post($0) })
    do {
      for (number, range) in parts.memory.view.ranges.filter({ $0.ram != nil }).enumerated() {
        guard let ram = range.ram else { continue }
        try machine.setMemory(
          KVMMemorySlot(
            number: UInt32(number), guestAddress: range.guest.start.rawValue,
            byteCount: range.guest.byteCount, hostAddress: ram.block.hostAddress + UInt(ram.offset),
            isLogged: false))
      }
      let accelerator = try KVMAccelerator(host, processorCount: count)
      try accelerator.start(
        GuestBus(memory: parts.memory, ports: parts.ports), post: { requests.post($0) },
        ringFull: { _ in })
      return Hardware(parts, accelerator)
    } catch {
      throw .kernel(action: "cannot make the machine", reason: "\(error)")
    }
  }

  /// Why there is no KVM, and what would do without.
  private static func sentence(about error: KVMError) -> String {
    let advice =
      " '--accel synthetic' needs no KVM: it runs the demonstration's workload as a stand-in."
    switch error {
    case .missing, .noRights, .notWorking: return "\(error)" + advice
    default: return "\(error)"
    }
  }
}
