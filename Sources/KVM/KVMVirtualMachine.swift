// One virtual machine: its memory, its capabilities, the vCPUs that it makes.

import CLinux
import Glibc
import Synchronization
import Transport

/// A virtual machine of the host's KVM.
///
/// It lives as long as this object, or its last vCPU, does. All of it may be used from any thread;
/// the kernel serialises what must be.
public final class KVMVirtualMachine: Sendable {
  let descriptor: OwnedDescriptor
  /// The KVM that made it.
  public let system: KVMSystem
  /// Sizes of the slots in bytes: what bounds their dirty bitmaps.
  let slotByteCounts = Mutex<[UInt32: UInt64]>([:])
  /// The host's page size in bytes, the unit of KVM's dirty logs.
  public static let hostPageByteCount = Int(sysconf(Int32(_SC_PAGESIZE)))

  init(descriptor: consuming OwnedDescriptor, system: KVMSystem) {
    self.descriptor = descriptor
    self.system = system
  }

  /// What a capability amounts to for this machine: 0 where it is missing, else 1, a number or
  /// flags.
  public func check(_ capability: KVMCapability) -> Int {
    max(0, KernelCall.plain(descriptor.raw, GODWIT_KVM_CHECK_EXTENSION, UInt(capability.rawValue)))
  }

  /// Switches a capability on.
  /// - Parameters:
  ///   - capability: what to switch on.
  ///   - arguments: at most four numbers whose meaning the capability defines.
  public func enable(_ capability: KVMCapability, _ arguments: UInt64...) throws(KVMError) {
    var request = kvm_enable_cap()
    request.cap = capability.rawValue
    let padded = arguments.prefix(4) + Array(repeating: 0, count: max(0, 4 - arguments.count))
    try fill(&request.args, with: Array(padded), of: "the arguments of \(capability)")
    try exchange(GODWIT_KVM_ENABLE_CAP, &request, "Switching \(capability) on")
  }

  /// Adds, changes or (with a size of 0) takes away a memory slot.
  ///
  /// The host memory must stay mapped until the slot is gone. The kernel refuses to move or resize
  /// a slot in place except by its guest address; take it away and add it again instead.
  public func setMemory(_ slot: KVMMemorySlot) throws(KVMError) {
    var region = kvm_userspace_memory_region()
    region.slot = slot.number
    region.flags =
      (slot.isLogged ? UInt32(1) << 0 : 0) | (slot.isReadOnly ? UInt32(1) << 1 : 0)
    region.guest_phys_addr = slot.guestAddress
    region.memory_size = slot.byteCount
    region.userspace_addr = UInt64(slot.hostAddress)
    let result = slotByteCounts.withLock { sizes -> Int in
      let result = KernelCall.exchange(
        descriptor.raw, GODWIT_KVM_SET_USER_MEMORY_REGION, &region)
      if result >= 0 { sizes[slot.number] = slot.byteCount == 0 ? nil : slot.byteCount }
      return result
    }
    guard result >= 0 else {
      let verb = slot.byteCount == 0 ? "Taking away" : "Setting"
      throw .failed(
        action: "\(verb) the memory slot \(slot.number) (\(slot.byteCount) bytes at guest "
          + "address 0x\(String(slot.guestAddress, radix: 16)))", code: Int32(-result))
    }
  }

  /// Makes a vCPU.
  /// - Parameter index: its number, which is also its APIC's; each may be made once.
  public func makeVCPU(index: Int) throws(KVMError) -> KVMVCPU {
    let number = KernelCall.plain(descriptor.raw, GODWIT_KVM_CREATE_VCPU, UInt(index))
    guard number >= 0 else {
      throw .failed(action: "Creating the vCPU \(index)", code: Int32(-number))
    }
    return try KVMVCPU(
      descriptor: OwnedDescriptor(adopting: Int32(number)), index: index, machine: self)
  }

  /// Sets where Intel's real mode keeps three pages of its own, outside all slots.
  public func setTSSAddress(_ address: UInt64) throws(KVMError) {
    let result = KernelCall.plain(descriptor.raw, GODWIT_KVM_SET_TSS_ADDR, UInt(address))
    guard result >= 0 else {
      throw .failed(action: "Setting the address of the task state segment", code: Int32(-result))
    }
  }

  /// Sets where Intel's real mode keeps one page table, outside all slots; before the first vCPU.
  public func setIdentityMapAddress(_ address: UInt64) throws(KVMError) {
    var address = address
    try exchange(
      GODWIT_KVM_SET_IDENTITY_MAP_ADDR, &address, "Setting the address of the identity map")
  }

  /// Makes a request with one structure and turns its failure into an error.
  func exchange<Structure: BitwiseCopyable>(
    _ request: UInt, _ value: inout Structure, _ action: @autoclosure () -> String
  ) throws(KVMError) {
    let result = KernelCall.exchange(descriptor.raw, request, &value)
    guard result >= 0 else { throw .failed(action: action(), code: Int32(-result)) }
  }
}
