// KeptStreamTests.swift: a whole machine that an earlier build sent into a file loads for ever.

import Devices
import Foundation
import GuestMemory
import KVM
import MigrationCore
import MigrationEngine
import Synchronization
import Testing
import Transport
import VMState
import Wire

@testable import VMM

/// A stream of a machine with a guest that counts in memory, one processor and 8 MiB, as the build
/// of that time wrote it to a file.
///
/// Its processor is loaded into a value, as another host's KVM would refuse it.
@Suite struct KeptStreamTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures")
  private static let byteCount: UInt64 = 8 << 20

  private static let codeAddress: UInt64 = 1 << 20
  private static let counterOffset = 2 << 20
  private static let code: [UInt8] = [
    0x48, 0xFF, 0xC0,  // inc rax
    0x48, 0x89, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,  // mov [0x200000], rax
    0xEB, 0xF3,  // jmp to the first
  ]

  /// An accelerator that runs nothing and keeps what is loaded into it.
  private final class Stand: AcceleratorState {
    let kind = AcceleratorKind.kvm
    let processorCount = 1
    let limitsDirtyRate = false
    func throttle(_ throttle: Throttle?) {}
    let threadIdentifiers: [Int32] = []
    let processor = Mutex<VCPUState?>(nil)

    func resume() {}
    func pause() {}
    func reset(to start: ProcessorStart) throws(MachineError) {}
    func end() {}

    var vmstateSections: [any VMStateSection] {
      let processor = VMStateDevice(
        VCPUState.description, blank: { VCPUState() }, capture: { VCPUState() },
        apply: { state in self.processor.withLock { $0 = state } })
      return [
        processor, Self.section(PlatformState.pic, PICState(), instance: 0),
        Self.section(PlatformState.pic, PICState(), instance: 1),
        Self.section(PlatformState.ioapic, IOAPICState()),
        Self.section(PlatformState.timer, PITState()),
        Self.section(PlatformState.clock, PlatformState.Clock()),
      ]
    }

    private static func section<State: Sendable>(
      _ description: VMStateDescription<State>, _ blank: State, instance: UInt32 = 0
    ) -> any VMStateSection {
      VMStateDevice(
        description, instance: instance, blank: { blank }, capture: { blank }, apply: { _ in })
    }
  }

  @Test func `a kept stream loads: its memory, its devices, what it was doing`() throws {
    let file = Self.folder.appendingPathComponent("counter-1.stream").path
    let parts = try MachineParts(
      MachineConfiguration(memoryByteCount: Self.byteCount), line: { _ in InterruptLine { _ in } },
      post: { _ in })
    let stand = Stand()
    let destination = MachineDestination(
      parts.ram, MachineState(of: parts, stand),
      hooks: MachineDestination.Hooks(overwrite: {}, allowDiscarding: { _ in }, start: {}))
    let channel = try ByteChannel.connect(
      to: .file(path: file, offset: 0), for: .reading)
    let report = try DestinationEngine(channel: channel, endpoint: destination).run()
    #expect(destination.runState == .running)
    #expect(report.zeroPages + report.normalPages == Self.byteCount / 4096)
    let state = try #require(stand.processor.withLock { $0 })
    #expect(state.special.efer & 1 << 10 != 0, "the guest was in 64-bit mode")
    let block = try #require(parts.ram.blocks.first)
    #expect(try Self.bytes(block, Int(Self.codeAddress), Self.code.count) == Self.code)
    let counter = try Self.bytes(block, Self.counterOffset, 8).reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64($1)
    }
    #expect(counter > 0)
    #expect(state.general.rax == counter || state.general.rax == counter + 1)
    let code = Self.codeAddress..<Self.codeAddress + UInt64(Self.code.count)
    #expect(code.contains(state.general.rip))
  }

  private static func bytes(_ block: RAMBlock, _ offset: Int, _ count: Int) throws -> [UInt8] {
    try block.withBytes(offset: offset, byteCount: count) {
      (bytes) throws(GuestMemoryError) in bytes.withUnsafeBytes { Array($0) }
    }
  }

  /// Keeps a machine anew, where that is asked for: one of a new build gets a new name.
  @Test(
    .enabled(
      if: ProcessInfo.processInfo.environment["GODWIT_KEEP_STREAM"] != nil,
      "writes a fixture to the path that GODWIT_KEEP_STREAM gives"))
  func `a machine's stream is kept`() throws {
    let path = try #require(ProcessInfo.processInfo.environment["GODWIT_KEEP_STREAM"])
    let image = path + ".image"
    try Data(Self.code).write(to: URL(fileURLWithPath: image))
    defer { try? FileManager.default.removeItem(atPath: image) }
    var configuration = MachineConfiguration(memoryByteCount: Self.byteCount)
    configuration.boot = .flat(path: image, address: Self.codeAddress)
    let machine = try Machine(configuration)
    try machine.launch()
    Thread.sleep(forTimeInterval: 1)
    try machine.migration.send(
      to: .address(.file(path: path, offset: 0)), .standard, resumes: false)
    while !machine.migration.account.status.isTerminal { usleep(1000) }
    #expect(machine.migration.account.failure == nil)
    machine.quit()
  }
}
