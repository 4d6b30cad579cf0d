// The lab itself: its guest boots on every machine it is meant for, tells the truth about its
// memory, and survives QEMU's own way of moving it.

import DemoGuest
import Foundation
import QEMULab
import Testing

extension Interop {
  @Suite
  struct LabTests {
    /// Every machine of every QEMU found.
    static let machines = QEMU.all.flatMap { qemu in
      DemoGuest.Architecture(rawValue: qemu.architecture).map(LabConfiguration.machines)!
        .map { LabConfiguration(qemu, machine: $0) }
    }

    @Test(
      .enabled(if: !QEMU.all.isEmpty, "no QEMU on PATH nor in GODWIT_QEMU"),
      .timeLimit(.minutes(2)),
      arguments: machines)
    func `the guest boots and finds its memory whole`(configuration: LabConfiguration) throws {
      let guest = try LabGuest(configuration)
      try guest.waitUntilReady()
      let report = try guest.requireHealth()
      #expect(report.written > 0)
    }

    @Test(.enabled(if: QEMU.newest() != nil, "no QEMU on PATH nor in GODWIT_QEMU"))
    func `a page changed behind the guest's back is found`() throws {
      let qemu = try #require(QEMU.newest())
      let file = NSTemporaryDirectory() + "gwlab-ram-\(UUID().uuidString)"
      defer { try? FileManager.default.removeItem(atPath: file) }
      var configuration = LabConfiguration(qemu, machine: "microvm,memory-backend=ram")
      configuration.memoryMegabytes = 64
      configuration.arguments = [
        "-object", "memory-backend-file,id=ram,size=64M,mem-path=\(file),share=on",
      ]
      configuration.workload = DemoGuest.commandLine(
        memoryMegabytes: 16, check: 64, reportMilliseconds: 200)
      let guest = try LabGuest(configuration)
      try guest.waitUntilReady()
      try guest.requireHealth()

      try guest.stop()
      let before = try guest.dumpMemory()
      #expect(try before.firstDifference(from: guest.dumpMemory()) == nil)
      let memory = try #require(FileHandle(forUpdatingAtPath: file))
      try memory.seek(toOffset: 8 << 20)
      try memory.write(contentsOf: Data(repeating: 0x5a, count: 4096))
      try memory.close()
      let difference = try #require(try before.firstDifference(from: guest.dumpMemory()))
      #expect(difference.hasPrefix("1 pages differ") && difference.contains("0x800000"))
      try guest.resume()
      try guest.wait(for: "a bad page") { guest.reports.contains { $0.bad > 0 } }
    }

    @Test(
      .enabled(if: !movable.isEmpty, "no QEMU of version 8 or newer in GODWIT_QEMU"),
      .timeLimit(.minutes(3)), arguments: movable, Lab.isLong ? [false, true] : [true])
    func `a move by QEMU itself keeps the guest whole`(
      configuration: LabConfiguration, postcopy: Bool
    ) throws {
      let source = try LabGuest(configuration)
      let destination = try LabGuest(configuration, isIncoming: true)
      try source.waitUntilReady()
      let before = try source.requireHealth()
      try source.migrateDirectly(to: destination, postcopy: postcopy)
      try destination.requireHealth(continuing: before, checkedPages: 8192)
    }

    /// QEMU 7.2 under TCG loses writes in a live move by itself, so only newer ones can show that
    /// it is not the guest that fails.
    static let movable = machines.filter {
      $0.qemu.version >= QEMU.Version(8, 0) && (Lab.isLong || $0.machine != "q35")
    }
  }
}
