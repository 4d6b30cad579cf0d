// The host's KVM: what it can do, and the machines that it makes.

import CLinux
import Glibc
import Transport

/// The host's KVM, opened.
///
/// All of it may be used from any thread.
public final class KVMSystem: Sendable {
  /// Where the kernel offers KVM.
  public static let devicePath = "/dev/kvm"
  /// The one version of the interface that has been since Linux 2.6.22.
  public static let apiVersion = Int(KVM_API_VERSION)
  /// More CPUID entries than any KVM has.
  static let cpuidEntryLimit = 1024

  let descriptor: OwnedDescriptor
  /// Size in bytes of each vCPU's mapping.
  public let runMappingByteCount: Int

  /// Opens the host's KVM.
  /// - Parameter path: the device.
  /// - Throws: that it is missing, closed to this user, dead, or of another version.
  public init(path: String = KVMSystem.devicePath) throws(KVMError) {
    let number = KernelCall.open(path)
    guard number >= 0 else {
      switch -number {
      case ENOENT: throw .missing(path: path)
      case EACCES, EPERM: throw .noRights(path: path, code: -number)
      default: throw .notWorking(path: path, code: -number)
      }
    }
    descriptor = OwnedDescriptor(adopting: number)
    let version = KernelCall.plain(descriptor.raw, GODWIT_KVM_GET_API_VERSION)
    // A device that is no KVM does not know the request; -1 stands for "none".
    guard version == Self.apiVersion else {
      throw .wrongVersion(path: path, expected: Self.apiVersion, found: max(version, -1))
    }
    let size = KernelCall.plain(descriptor.raw, GODWIT_KVM_GET_VCPU_MMAP_SIZE)
    guard size > 0 else {
      throw .failed(action: "Asking \(path) for the size of a vCPU's mapping", code: Int32(-size))
    }
    runMappingByteCount = size
  }

  /// What the host answers for a capability: 0 where it is missing, else 1 or a number or flags.
  public func check(_ capability: KVMCapability) -> Int {
    max(0, KernelCall.plain(descriptor.raw, GODWIT_KVM_CHECK_EXTENSION, UInt(capability.rawValue)))
  }

  /// What CPUID may say in a guest here.
  public func supportedCPUID() throws(KVMError) -> [CPUIDEntry] {
    try CPUIDEntry.list(
      from: descriptor.raw, request: GODWIT_KVM_GET_SUPPORTED_CPUID,
      action: "Asking KVM which processor features it supports")
  }

  /// The model-specific registers that make up a vCPU's state here, by index.
  public func modelSpecificRegisterIndices() throws(KVMError) -> [UInt32] {
    let action = "Asking KVM which model-specific registers it keeps"
    // struct kvm_msr_list: a 32-bit count, then 32-bit indices; asked with no room first.
    var words: [UInt64] = [0]
    let first = KernelCall.exchange(descriptor.raw, GODWIT_KVM_GET_MSR_INDEX_LIST, words: &words)
    guard first >= 0 || first == -Int(E2BIG) else {
      throw .failed(action: action, code: Int32(-first))
    }
    let count = Int(UInt32(truncatingIfNeeded: words[0]))
    guard count <= 1 << 16 else { throw .failed(action: action, code: E2BIG) }
    words = [UInt64](repeating: 0, count: (count + 2) / 2)
    words[0] = UInt64(count)
    let second = KernelCall.exchange(descriptor.raw, GODWIT_KVM_GET_MSR_INDEX_LIST, words: &words)
    guard second >= 0 else { throw .failed(action: action, code: Int32(-second)) }
    return (1...max(count, 1)).prefix(count).map { position in
      UInt32(truncatingIfNeeded: words[position / 2] >> (position % 2 == 0 ? 0 : 32))
    }
  }

  /// Makes a virtual machine without memory, vCPUs or devices.
  public func makeVirtualMachine() throws(KVMError) -> KVMVirtualMachine {
    let number = KernelCall.plain(descriptor.raw, GODWIT_KVM_CREATE_VM)
    guard number >= 0 else {
      throw .failed(action: "Creating a virtual machine", code: Int32(-number))
    }
    return KVMVirtualMachine(
      descriptor: OwnedDescriptor(adopting: Int32(number)), system: self)
  }
}
