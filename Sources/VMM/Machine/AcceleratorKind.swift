// What runs a machine's code, by the names that people type.

/// What runs the machine's vCPUs.
public enum AcceleratorKind: String, CaseIterable, Sendable {
  /// The host kernel's virtual-machine interface, /dev/kvm.
  case kvm
  /// A stand-in: the demonstration's workload as threads of the host over the same memory.
  case synthetic
}
