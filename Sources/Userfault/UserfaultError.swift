// Everything that can go wrong with page-fault handling, each as a sentence.

import Glibc

/// Why userfaultfd, or the scan of the page table, could not be used.
public enum UserfaultError: Error, Equatable, Sendable {
  /// The kernel does not give this process a userfaultfd.
  case notAllowed(code: Int32)
  /// The kernel's userfaultfd lacks something that is needed, named as the kernel names it.
  case unsupported(feature: String)
  /// A request failed while doing `action` (such as "Registering 4096 bytes at 0x7f0000000000").
  case failed(action: String, code: Int32)
}

extension UserfaultError: CustomStringConvertible {
  /// A sentence for a person: what was being done, to what, what was found, what to do next.
  public var description: String {
    switch self {
    case .notAllowed(let code):
      "Opening a userfaultfd failed: \(Self.text(of: code)). Allow it "
        + "(sysctl vm.unprivileged_userfaultfd=1, or rights on /dev/userfaultfd), or run as root."
    case .unsupported(let feature):
      "This host's kernel does not offer \(feature). A newer kernel does."
    case .failed(let action, let code):
      "\(action) failed: \(Self.text(of: code))."
    }
  }

  private static func text(of code: Int32) -> String {
    // SAFETY: strerror answers a terminated string, which is copied at once.
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }
}
