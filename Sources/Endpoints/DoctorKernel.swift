// What this host's kernel lets a QEMU of this user do: page faults in user space, KVM, memory.

internal import CLinux
import Foundation

/// What `doctor` says about the kernel.
enum DoctorKernel {
  static func findings() -> [DoctorFinding] {
    [instantRestore(), backgroundSnapshot(), kvm(), memory()].compactMap { $0 }
  }

  /// How this process may get a userfaultfd: as a QEMU of the same user would.
  private enum Access {
    case granted(features: UInt64)
    case refused(code: Int32)
  }

  private static func userfaultfd() -> Access {
    var features: UInt64 = 0
    // SAFETY: the call fills the one number of this frame that it is given.
    let result = unsafe godwit_userfaultfd_features(0, &features)
    return result < 0 ? .refused(code: -result) : .granted(features: features)
  }

  private static func instantRestore() -> DoctorFinding {
    let topic = "instant restore"
    switch userfaultfd() {
    case .granted: return DoctorFinding(topic, .ok, "userfaultfd works for this user")
    case .refused(let code) where code == ENOSYS:
      return DoctorFinding(
        topic, .missing, "this kernel has no userfaultfd",
        advice: "Use a kernel with CONFIG_USERFAULTFD; until then, restore with --eager.")
    case .refused:
      return DoctorFinding(
        topic, .missing, "userfaultfd is kept from this user",
        advice: "As root: sysctl -w vm.unprivileged_userfaultfd=1, or run QEMU as root; "
          + "until then, restore with --eager.")
    }
  }

  private static func backgroundSnapshot() -> DoctorFinding {
    let topic = "save --live"
    guard case .granted(let features) = userfaultfd() else {
      return DoctorFinding(
        topic, .missing, "the background snapshot needs userfaultfd",
        advice: "Make userfaultfd available as above; until then, save without --live.")
    }
    guard features & UInt64(UFFD_FEATURE_PAGEFAULT_FLAG_WP) != 0 else {
      return DoctorFinding(
        topic, .missing, "this kernel's userfaultfd cannot write-protect",
        advice: "Use Linux 5.7 or later on x86-64; until then, save without --live.")
    }
    guard features & UInt64(UFFD_FEATURE_WP_HUGETLBFS_SHMEM) != 0 else {
      return DoctorFinding(
        topic, .limited, "write protection works for anonymous memory only, not for shared memory",
        advice: "For guests with memory-backend-memfd or -file, use Linux 5.19 or later.")
    }
    return DoctorFinding(topic, .ok, "userfaultfd write-protects anonymous and shared memory")
  }

  private static func kvm() -> DoctorFinding {
    let path = "/dev/kvm"
    guard FileManager.default.fileExists(atPath: path) else {
      return DoctorFinding(
        "KVM", .limited, "no \(path): guests are emulated (TCG), which is slow",
        advice: "Enable virtualisation in the firmware, or nested virtualisation in the host.")
    }
    guard FileManager.default.isReadableFile(atPath: path),
      FileManager.default.isWritableFile(atPath: path)
    else {
      return DoctorFinding(
        "KVM", .limited, "\(path) is there, but not for this user",
        advice: "Add yourself to its group: sudo usermod -aG kvm $USER, and log in again.")
    }
    return DoctorFinding("KVM", .ok, "\(path) may be used")
  }

  private static func memory() -> DoctorFinding? {
    guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8),
      let total = kibibytes(of: "MemTotal", in: text),
      let available = kibibytes(of: "MemAvailable", in: text)
    else { return nil }
    let message = "\(gibibytes(available)) GiB of \(gibibytes(total)) GiB available"
    guard available >= 512 << 10 else {
      return DoctorFinding(
        "memory", .limited, message,
        advice: "Godwit itself takes up to 0.3 GiB beside the guest's own memory.")
    }
    return DoctorFinding("memory", .ok, message)
  }

  /// The value of a line of /proc/meminfo, which counts in KiB.
  static func kibibytes(of name: String, in text: String) -> UInt64? {
    for line in text.split(separator: "\n") where line.hasPrefix("\(name):") {
      return line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
    }
    return nil
  }

  private static func gibibytes(_ kibibytes: UInt64) -> String {
    let tenths = (kibibytes * 10) >> 20
    return "\(tenths / 10).\(tenths % 10)"
  }
}
