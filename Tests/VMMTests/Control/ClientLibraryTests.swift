// The public client library of QEMU's project drives a scripted machine through all of its QMP.

import QEMULab
import QMP
import Testing

@testable import VMM

@Suite(
  .enabled(if: ClientLibrary.objection == nil, "\(ClientLibrary.objection ?? "")"),
  .timeLimit(.minutes(3)))
struct ClientLibraryTests {
  @Test func `qemu.qmp drives everything that the server lists`() async throws {
    let served = try await Served()
    let outcome = await ClientLibrary.drive(served.folder + "/qmp", folder: served.folder)
    #expect(outcome.status == 0, "\(outcome.output)")
    #expect(served.machine.state.withLock { $0.end } == .hostQuit)
  }
}
