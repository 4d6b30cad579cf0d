// A `stop` at a machine that waits for pages: it may take until they are there, and nothing that is
// asked meanwhile may wait for it.

import Foundation
import Pager
import QMP
import Testing
import Transport

@testable import VMM

@Suite(
  .enabled(if: PagerSession.isOffered, "this user may not have a userfaultfd"), .serialized)
struct StopDuringRecoveryTests {
  private static let capabilities: Set<String> = ["return-path", "postcopy-ram"]

  @Test(.timeLimit(.minutes(2)))
  func `a stop at a machine that waits for pages keeps nobody from recovering it`() async throws {
    // The stand-in's threads wait in the kernel for a page, where no signal gets them out.
    let source = try MovingMachine(accelerator: .synthetic, megabytesPerSecond: 50)
    try source.requireHealth()
    let target = try MovingMachine(
      isIncoming: true, runsOn: true, accelerator: .synthetic, megabytesPerSecond: 50)
    try target.receive("unix:" + MovingMachine.path("sock"), Self.capabilities)
    let server = try MachineMonitor.server(for: target.machine)
    defer { server.stop() }
    let monitor = MovingMachine.path("qmp")
    try server.listen(at: .unix(path: monitor))
    let first = try await QMPClient.connect(to: monitor)
    let second = try await QMPClient.connect(to: monitor)

    try source.send(target.listeningAddress, Self.capabilities) { options in
      options.set("max-bandwidth", 1)
      options.set("max-postcopy-bandwidth", 2 << 20)
    }
    try source.machine.migration.startPostcopy()
    for side in [source, target] { try side.require(.postcopyActive) }
    try source.machine.migration.pause()
    for side in [source, target] { try side.require(.postcopyPaused) }

    // By then it waits for a page.
    try await Task.sleep(for: .milliseconds(500))
    let stopping = Task { try await first.execute("stop") }
    try await Task.sleep(for: .milliseconds(200))
    let limit = Duration.seconds(20)
    let status = try await second.execute("query-status", timeout: limit)
    #expect(status["status"] == "running")
    let migration = try await second.execute("query-migrate", timeout: limit)
    #expect(migration["status"] == "postcopy-paused")
    let path = MovingMachine.path("sock")
    try await second.executeOutOfBand(
      "migrate-recover", ["uri": .string("unix:" + path)], timeout: limit)

    try source.send("unix:" + path, Self.capabilities, resumes: true)
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().status == .completed)
    #expect(try await stopping.value == [:])
    #expect(target.machine.runState == .paused)
    try target.machine.cont()
    try target.requireHealth()
  }
}
