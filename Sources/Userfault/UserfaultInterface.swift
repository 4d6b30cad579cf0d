// The version of the kernel's page-fault interface that this module speaks.

/// The kernel's page-fault interface as a whole.
public enum UserfaultInterface {
  /// The value of UFFD_API, which the handshake names.
  public static let version: UInt64 = 0xAA
}
