// One vCPU: running it, getting it out, answering its exits.

import CLinux
import Glibc
import Synchronization
import Transport

/// A vCPU of a virtual machine.
///
/// One thread at a time runs it; state is read and set while it does not run (the kernel makes such
/// a request wait until it has stopped). ``kick()`` may be called from any thread.
public final class KVMVCPU: Sendable {
  let descriptor: OwnedDescriptor
  private let mapping: RunMapping
  /// The kernel's number of the thread that runs it, 0 for none.
  private let runningThread = Atomic<Int32>(0)
  /// Its number in the machine.
  public let index: Int
  /// The machine it belongs to.
  public let machine: KVMVirtualMachine

  init(
    descriptor: consuming OwnedDescriptor, index: Int, machine: KVMVirtualMachine
  ) throws(KVMError) {
    mapping = try RunMapping(
      descriptor: descriptor.raw, byteCount: machine.system.runMappingByteCount)
    self.descriptor = descriptor
    self.index = index
    self.machine = machine
    let code = godwit_kvm_install_kick()
    guard code == 0 else {
      throw .failed(action: "Installing the signal that interrupts vCPUs", code: -code)
    }
  }

  /// Runs the guest on the calling thread until something is to be done.
  ///
  /// Port and memory accesses of the exit before are finished first, with the answers given since.
  public func run() throws(KVMError) -> VCPUExit {
    runningThread.store(godwit_kvm_thread(), ordering: .sequentiallyConsistent)
    let result = KernelCall.run(descriptor.raw)
    runningThread.store(0, ordering: .sequentiallyConsistent)
    switch -result {
    case Int(EINTR), Int(EAGAIN):
      mapping.setImmediateExit(false)
      return .interrupted
    case Int.min...0:
      return mapping.exit()
    default:
      throw .failed(action: "Running the vCPU \(index)", code: Int32(-result))
    }
  }

  /// Has the present or the next ``run()`` return ``VCPUExit/interrupted`` at once.
  ///
  /// Whoever kicks sets down before what is wanted; the vCPU's thread looks for it after each run.
  /// Nothing is lost in between: the wish to exit stays until a run was interrupted.
  public func kick() {
    mapping.setImmediateExit(true)
    let thread = runningThread.load(ordering: .sequentiallyConsistent)
    // A thread that has left the run meanwhile gets a signal that does nothing.
    if thread != 0 { _ = godwit_kvm_kick(thread) }
  }

  /// Finishes the port or memory access of the last exit without running the guest further.
  ///
  /// To be called on the thread that runs it, after the exit was answered and before state is read:
  /// until then the registers are those from within the instruction.
  /// - Returns: the next exit, where finishing led to one (a string instruction's next part), which
  ///   has to be answered and finished in turn; nil where all is finished.
  public func finishAccess() throws(KVMError) -> VCPUExit? {
    mapping.setImmediateExit(true)
    let exit = try run()
    mapping.setImmediateExit(false)
    return exit == .interrupted ? nil : exit
  }

  /// The value that a guest writes to a port.
  /// - Parameters:
  ///   - access: the exit's payload, before the next run.
  ///   - index: which of its values, from 0.
  public func portValue(_ access: VCPUExit.PortAccess, at index: Int = 0) -> UInt32 {
    mapping.portValue(access, at: index)
  }

  /// Answers a guest's read of a port.
  public func setPortValue(_ value: UInt32, for access: VCPUExit.PortAccess, at index: Int = 0) {
    mapping.setPortValue(value, for: access, at: index)
  }

  /// Answers a guest's read of memory that is none.
  public func setMMIOValue(_ value: UInt64) {
    mapping.setMMIOValue(value)
  }

  /// Answers a guest's read of a model-specific register, or a write of one.
  /// - Parameter value: its value; nil raises a general protection fault.
  public func setMSRValue(_ value: UInt64?) {
    mapping.setMSRValue(value)
  }

  /// Maps the vCPU's dirty ring; only where the machine has ``KVMCapability/dirtyLogRing`` on.
  /// - Parameter byteCount: the ring's size in bytes, as it was switched on.
  public func mapDirtyRing(byteCount: Int) throws(KVMError) -> DirtyRing {
    try DirtyRing(descriptor: descriptor.raw, vcpu: index, byteCount: byteCount)
  }

  /// Makes a request with one structure and turns its failure into an error.
  func exchange<Structure: BitwiseCopyable>(
    _ request: UInt, _ value: inout Structure, _ action: @autoclosure () -> String
  ) throws(KVMError) {
    let result = KernelCall.exchange(descriptor.raw, request, &value)
    guard result >= 0 else { throw .failed(action: action(), code: Int32(-result)) }
  }
}
