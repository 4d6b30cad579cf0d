// Everything that can go wrong between here and the kernel's KVM, each as a sentence.

/// Why KVM could not be opened or used.
public enum KVMError: Error, Equatable, Sendable {
  /// There is no KVM device at this path.
  case missing(path: String)
  /// The device is there, and this user may not open it.
  case noRights(path: String, code: Int32)
  /// The device is there but nothing answers behind it.
  case notWorking(path: String, code: Int32)
  /// What answers is no KVM of the one stable version.
  case wrongVersion(path: String, expected: Int, found: Int)
  /// The kernel lacks something that is needed.
  case unsupported(String, capability: String)
  /// A request failed while doing `action` (such as "Creating a virtual machine").
  case failed(action: String, code: Int32)
  /// A piece of state has another size than the kernel's structure.
  case wrongSize(of: String, expected: Int, found: Int)
  /// The kernel took only the first of several model-specific registers.
  case refusedRegister(index: UInt32, value: UInt64)
  /// The kernel wrote past the end of a vCPU's dirty ring.
  case ringOverrun(vcpu: Int)
}

extension KVMError: CustomStringConvertible {
  /// A sentence for a person: what was being done, to what, what was found, what to do next.
  public var description: String {
    switch self {
    case .missing(let path):
      "There is no KVM here: \(path) does not exist. Load the kernel module (kvm_intel or "
        + "kvm_amd), enable virtualization in the firmware, or use a host that offers it."
    case .noRights(let path, let code):
      "Opening \(path) was refused: \(KernelCall.text(of: code)). Join the group that owns it "
        + "(often 'kvm': sudo usermod -aG kvm $USER, then log in again)."
    case .notWorking(let path, let code):
      "Opening \(path) failed: \(KernelCall.text(of: code)). The device is there but KVM does not "
        + "answer; look at the kernel's log (dmesg) for the reason."
    case .wrongVersion(let path, let expected, let found):
      "\(path) speaks version \(found) of the KVM interface; version \(expected) is needed. "
        + "Check that the path is that of KVM's device."
    case .unsupported(let action, let capability):
      "\(action) is not possible: this host's KVM does not offer \(capability)."
    case .failed(let action, let code):
      "\(action) failed: \(KernelCall.text(of: code))."
    case .wrongSize(let name, let expected, let found):
      "Setting \(name) failed: \(found) elements were given, the kernel's structure has "
        + "\(expected)."
    case .refusedRegister(let index, let value):
      "Setting the model-specific register 0x\(String(index, radix: 16)) to "
        + "0x\(String(value, radix: 16)) was refused by this host's KVM. Its processor or kernel "
        + "may lack what the register controls."
    case .ringOverrun(let vcpu):
      "KVM wrote past the end of the dirty ring of the vCPU \(vcpu): which pages the guest wrote "
        + "is not known any more. Use the dirty log 'clear' or 'bitmap' on this host."
    }
  }

  /// The error number of the failed request, where one failed.
  public var code: Int32? {
    switch self {
    case .noRights(_, let code), .notWorking(_, let code), .failed(_, let code): code
    default: nil
    }
  }
}
