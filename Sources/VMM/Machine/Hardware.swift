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
  /// What notices the guest's writes.
  let dirtyLog: any DirtyLog

  /// Makes them.
  ///
  /// - Parameters:
  ///   - configuration: what the machine is to be.
  ///   - requests: takes what the guest wants of the machine.
  init(_ configuration: MachineConfiguration, requests: GuestRequests) throws(MachineError) {
    switch configuration.accelerator ?? .kvm {
    case .kvm: self = try .onKVM(configuration, requests: requests)
    case .synthetic: self = try .standIn(configuration, requests: requests)
    }
  }

  private init(
    _ parts: MachineParts, _ accelerator: any Accelerator, _ dirtyLog: any DirtyLog
  ) {
    self.parts = parts
    self.accelerator = accelerator
    self.dirtyLog = dirtyLog
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
    let most = max(
      1, min(host.system.check(.maximumVCPUCount), MachineConfiguration.mostProcessors))
    guard count <= most else { throw .processors(count: count, most: most) }
    let machine = host.machine
    let choice: DirtyLogChoice
    do throws(DirtyLogChoice.Refusal) {
      choice = try DirtyLogChoice(
        requested: configuration.dirtyLog, from: DirtyLogCapabilities(probing: host.system))
    } catch {
      throw .configuration(error.description)
    }
    let parts = try MachineParts(
      configuration,
      line: { number in
        // A line that cannot be set belongs to a machine that is being taken apart.
        InterruptLine { level in try? machine.setIRQLine(number, level) }
      }, post: { requests.post($0) })
    do {
      let gate = RunGate()
      let slots = try KVMMemorySlots(machine: machine, choice: choice, pausing: gate)
      try parts.memory.addListener(slots)
      let accelerator = try KVMAccelerator(
        host, processorCount: count,
        ringEntryCount: choice.ringByteCount / DirtyLogChoice.ringEntryByteCount)
      for vcpu in accelerator.vcpus { try slots.add(vcpu) }
      try accelerator.start(
        GuestBus(memory: parts.memory, ports: parts.ports), gate: gate,
        post: { requests.post($0) }, ringFull: { () throws(KVMError) in try slots.collectRings() })
      let log: any DirtyLog =
        choice.kind == .writeProtect
        ? WriteProtectLog(ram: parts.ram, reason: choice.reason)
        : KVMDirtyLog(space: parts.memory, slots: slots, choice: choice)
      return Hardware(parts, accelerator, log)
    } catch {
      throw .kernel(action: "cannot make the machine", reason: "\(error)")
    }
  }

  /// A machine without processors, whose guest's work a thread of the host does.
  private static func standIn(
    _ configuration: MachineConfiguration, requests: GuestRequests
  ) throws(MachineError) -> Hardware {
    guard case .demonstration(let workload) = configuration.boot,
      configuration.processorCount == 1
    else {
      throw .configuration(
        "a stand-in (--accel synthetic) has one processor and imitates --demo-guest only")
    }
    let parts = try MachineParts(
      configuration, line: { _ in InterruptLine { _ in } }, post: { requests.post($0) })
    let capabilities = DirtyLogCapabilities(probing: nil)
    let log: any DirtyLog
    if let obstacle = capabilities.writeProtectObstacle, configuration.dirtyLog == nil {
      log = MarkedWritesLog(parts.memory, obstacle: obstacle)
    } else {
      do throws(DirtyLogChoice.Refusal) {
        let choice = try DirtyLogChoice(requested: configuration.dirtyLog, from: capabilities)
        log = WriteProtectLog(ram: parts.ram, reason: choice.reason)
      } catch {
        throw .configuration(error.description)
      }
    }
    let memory = SyntheticMemory(parts.mainBlock, marksWrites: log is MarkedWritesLog)
    let accelerator = SyntheticAccelerator(
      workload, memory: memory, ports: parts.ports
    ) { [excluded = parts.excluded, block = parts.mainBlock] bytes in
      // What is not taken is used as before.
      _ = excluded.declare(block, offset: bytes.lowerBound, byteCount: bytes.count)
    }
    do throws(TransportError) {
      try accelerator.start()
    } catch {
      throw .kernel(action: "cannot start the stand-in's thread", reason: "\(error)")
    }
    return Hardware(parts, accelerator, log)
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
