// Guests that are not x86, one of them big-endian.

import DemoGuest
import QEMULab
import Testing

extension Interop {
  @Suite
  struct ArchitectureTests {
    /// Other architectures' QEMUs; each to itself, because between 7.2 and 10.0 neither QEMU loads
    /// the other's processor state for these machines.
    static let machines = LabTests.machines.filter { configuration in
      guard let architecture = configuration.architecture, architecture != .x86_64 else {
        return false
      }
      return Lab.isLong || configuration.qemu == QEMU.newest(architecture)
    }

    static let reason: Comment =
      "no qemu-system-aarch64 or qemu-system-mips on PATH nor in GODWIT_QEMU"

    @Test(.enabled(if: !machines.isEmpty, reason), .timeLimit(.minutes(2)), arguments: machines)
    func `a guest of another architecture goes through the store whole`(
      configuration: LabConfiguration
    ) throws {
      let journey = try Journey(configuration)
      try journey.save(.stopped, as: "stopped")
      try journey.requireEqualMemory("stopped")
      try journey.requireLife("stopped")
      try journey.source.resume()
      try journey.source.requireHealth()
      try journey.save(.live, as: "live")
      try journey.requireLife("live")
    }
  }
}
