// Guests that wait for pages are remembered as long as their QEMU lives, and no longer.

import Foundation
import QMP
import Testing

@testable import Endpoints

@Suite final class PendingRestoresTests {
  let folder = FileManager.default.temporaryDirectory
    .appendingPathComponent("godwit-pending-\(UUID().uuidString)").path

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func restore(_ process: ProcessIdentity) -> PendingRestore {
    PendingRestore(
      checkpointName: "web", checkpointID: "0123", qmp: "vm.sock", process: process,
      version: QEMUVersion(major: 10, minor: 0, micro: 2), pageSizes: ["m0": 2 << 20],
      keeperPath: "/tmp/keeper")
  }

  @Test func `a pending restore is found by its process until it is removed`() throws {
    let pending = PendingRestores(storePath: folder)
    let own = try #require(ProcessIdentity(of: ProcessInfo.processInfo.processIdentifier))
    #expect(pending.of(own) == nil)
    try pending.add(restore(own))
    #expect(pending.of(own) == restore(own))
    pending.remove(own)
    #expect(pending.all().isEmpty)
  }

  @Test func `a process with the same number that started at another time is another process`()
    throws
  {
    let pending = PendingRestores(storePath: folder)
    let own = try #require(ProcessIdentity(of: ProcessInfo.processInfo.processIdentifier))
    let earlier = ProcessIdentity(pid: own.pid, startTicks: own.startTicks - 1)
    try pending.add(restore(earlier))
    #expect(!earlier.isAlive)
    #expect(pending.all().isEmpty)
  }

  @Test func `rubbish in the folder is passed over`() throws {
    let pending = PendingRestores(storePath: folder)
    let own = try #require(ProcessIdentity(of: ProcessInfo.processInfo.processIdentifier))
    try pending.add(restore(own))
    try Data("{".utf8).write(to: URL(fileURLWithPath: folder + "/restores/1-1.json"))
    #expect(pending.all() == [restore(own)])
  }
}
