// A guest of 8 GiB runs as soon after its restore began as a small one.

import DemoGuest
import Foundation
import QEMULab
import Testing

extension Interop {
  @Suite(
    .enabled(if: QEMU.newest() != nil, "no qemu-system-x86_64: nothing to move"),
    .enabled(if: Lab.isLong, "takes minutes and 16 GiB of memory; set GODWIT_LONG_TESTS"))
  struct LargeGuestTests {
    @Test(.timeLimit(.minutes(15)))
    func `8 GiB of memory run within milliseconds`() throws {
      let qemu = try #require(QEMU.newest())
      var configuration = LabConfiguration(qemu, machine: "q35", memoryMegabytes: 8192)
      configuration.workload = DemoGuest.commandLine(
        memoryMegabytes: 7936, rate: 4, check: 256, reportMilliseconds: 200)
      let journey = try Journey(configuration, readySeconds: 300)
      let saved = try journey.save(.live)
      #expect(saved["ram_bytes"]?.uint64 ?? 0 >= 8 << 30)
      print("saved:", saved)
      journey.source.kill()

      let copy = try journey.destination()
      let restored = try journey.godwit.run(["restore", "one", "--qmp", copy.qmpPath])
      print("restored:", restored)
      let running = try #require(restored["running_ms"]?.double)
      // The bar for an optimised build is in the benchmark; this one may be a debug build.
      #expect(running <= 100, "\(running) ms")
      try journey.requireCarryingOn(copy)
    }
  }
}
