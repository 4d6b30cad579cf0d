// The version of the kernel's interface that this module speaks.

/// The kernel's virtual-machine interface as a whole.
public enum KVMInterface {
  /// The only version of the interface there is, as KVM_GET_API_VERSION answers it.
  public static let version = 12
}
