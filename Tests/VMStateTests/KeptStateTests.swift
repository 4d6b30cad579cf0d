// KeptStateTests.swift: what an earlier build wrote is read for ever, and written alike.

import Foundation
import Testing
import VMStateLab
import Wire

@testable import VMState

@Suite struct KeptStateTests {
  private func kept(_ name: String) throws -> DeviceState {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures")
    let bytes = try Data(contentsOf: folder.appendingPathComponent(name + ".sections"))
    let json = try Data(contentsOf: folder.appendingPathComponent(name + ".json"))
    return DeviceState(bytes: [UInt8](bytes), description: [UInt8](json.dropLast()))
  }

  @Test func `a kept machine loads, and is written as it was`() throws {
    let state = try kept("machine-2026-11")
    let machine = SampleMachine()
    try machine.registry().load(state)
    #expect(machine.currentRunState == "running")
    #expect(machine.first.current != Sample())
    #expect(try machine.registry().save() == state)
  }
}
