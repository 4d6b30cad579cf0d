// A destination that takes a whole machine and never says whether it has it.

import Foundation
import Synchronization
import Testing
import Transport

@testable import VMM

@Suite struct SilentDestinationTests {
  @Test(.timeLimit(.minutes(2)))
  func `a machine that nobody confirms can be taken back by whoever knows where it is`() throws {
    let source = try MovingMachine(accelerator: .synthetic)
    let listener = try Listener(.unix(path: MovingMachine.path("sock")))
    let received = Count()
    try source.send("\(listener.address)", ["return-path"])
    let silent = try listener.accept(timeout: .seconds(10))
    let reader = try NamedThread(name: "silent") {
      while let bytes = try? silent.read(atMost: 1 << 20), !bytes.isEmpty {
        received.add(bytes.count)
      }
    }
    try source.wait("the device state") { source.machine.migration.account.status == .device }
    // All of it has gone once nothing more comes.
    var last = -1
    try source.wait("the end of the stream") {
      Thread.sleep(forTimeInterval: 0.3)
      let now = received.value
      defer { last = now }
      return now == last
    }
    #expect(source.machine.runState == .finishMigrate)
    #expect(throws: MachineError.self) { try source.machine.cont() }

    try source.machine.migration.cancel()
    let end = try source.migrationEnd()
    // Nobody knows where it is, which `cancelled` would deny; and it does not go on by itself.
    #expect(end.status == .failed)
    #expect(end.failure?.contains("unknown") == true, "\(end)")
    #expect(source.machine.runState == .paused)
    try source.machine.cont()
    #expect(source.machine.runState == .running)
    reader.join()
  }
}

/// What a thread has counted so far.
private final class Count: Sendable {
  private let total = Mutex(0)

  var value: Int { total.withLock { $0 } }

  func add(_ number: Int) { total.withLock { $0 += number } }
}
