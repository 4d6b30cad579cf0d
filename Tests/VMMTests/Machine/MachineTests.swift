// Whole machines: with KVM where the host has it, and stand-ins everywhere.

import DemoGuest
import Foundation
import GuestMemory
import KVM
import Synchronization
import Testing

@testable import VMM

/// A machine with its serial port in a file.
final class TestMachine {
  let machine: Machine
  private let serialPath: String

  static let hasKVM = (try? KVMSystem()) != nil

  init(
    memory: UInt64 = 64 << 20, _ boot: MachineConfiguration.BootSource,
    _ change: (inout MachineConfiguration) -> Void = { _ in }
  ) throws {
    serialPath = NSTemporaryDirectory() + "serial-\(UUID().uuidString)"
    var configuration = MachineConfiguration(memoryByteCount: memory)
    configuration.boot = boot
    configuration.serial = .file(path: serialPath)
    change(&configuration)
    machine = try Machine(configuration)
  }

  deinit {
    machine.quit()
    try? FileManager.default.removeItem(atPath: serialPath)
  }

  var serial: String {
    (try? String(contentsOfFile: serialPath, encoding: .utf8)) ?? ""
  }

  var reports: [DemoGuestReport] {
    serial.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }

  /// Waits until there is what is waited for; whether it came.
  func wait(seconds: Double = 30, until isThere: (TestMachine) -> Bool) -> Bool {
    let end = Date(timeIntervalSinceNow: seconds)
    while Date() < end {
      if isThere(self) { return true }
      Thread.sleep(forTimeInterval: 0.02)
    }
    return isThere(self)
  }

  /// The demonstration's guest with little to do, so that it is soon up.
  static var workload: MachineConfiguration.Workload {
    var workload = MachineConfiguration.Workload()
    workload.memoryMegabytes = 8
    workload.megabytesPerSecond = 4
    workload.reportMilliseconds = 100
    return workload
  }
}

@Suite(.serialized)
struct MachineTests {
  private static let accelerators: [AcceleratorKind] =
    TestMachine.hasKVM ? [.kvm, .synthetic] : [.synthetic]

  @Test(.timeLimit(.minutes(2)), arguments: accelerators)
  func `the demonstration's guest runs, stops, goes on and begins anew`(
    accelerator: AcceleratorKind
  ) throws {
    let test = try TestMachine(.demonstration(TestMachine.workload)) {
      $0.accelerator = accelerator
    }
    let machine = test.machine
    let events = Mutex<[MachineEvent]>([])
    _ = machine.observe { event in events.withLock { $0.append(event) } }
    #expect(machine.runState == .prelaunch)
    try machine.launch()
    #expect(test.wait { $0.reports.count >= 3 }, "\(test.serial)")

    try machine.stop()
    #expect(machine.runState == .paused)
    Thread.sleep(forTimeInterval: 0.1)
    let before = test.serial
    Thread.sleep(forTimeInterval: 0.4)
    #expect(test.serial == before, "a stopped guest said something")

    try machine.cont()
    let count = test.reports.count
    #expect(test.wait { $0.reports.count >= count + 2 })
    #expect(test.reports.allSatisfy { $0.bad == 0 })

    try machine.reset()
    #expect(test.wait { $0.serial.components(separatedBy: "guest machine=").count == 3 })
    #expect(machine.runState == .running)
    machine.quit()
    #expect(machine.waitUntilEnd() == MachineEnd(reason: .hostQuit, isByGuest: false))
    #expect(
      events.withLock { $0 } == [
        .resumed, .stopped, .resumed, .reset(byGuest: false), .stopped,
        .shutdown(byGuest: false, reason: .hostQuit),
      ])
  }

  @Test(
    .enabled(if: TestMachine.hasKVM, "needs /dev/kvm"), .timeLimit(.minutes(2)),
    arguments: ["bitmap", "clear", "ring", "write-protect"])
  func `a stopped machine's memory stays as it is`(log: String) throws {
    let test = try TestMachine(.demonstration(TestMachine.workload)) {
      $0.dirtyLog = .init(rawValue: log)
    }
    try test.machine.launch()
    #expect(test.wait { $0.reports.count >= 2 })
    for _ in 0..<20 {
      try test.machine.stop()
      let first = try test.fingerprint()
      #expect(try test.fingerprint() == first)
      try test.machine.cont()
    }
    #expect(
      try test.machine.countDirtyPages(during: .milliseconds(300), by: .bitmap).pageCount > 10)
    #expect(test.reports.allSatisfy { $0.bad == 0 })
  }

  @Test(.timeLimit(.minutes(2)), arguments: accelerators)
  func `a machine goes on in a copy of its memory and its state`(
    accelerator: AcceleratorKind
  ) throws {
    let source = try TestMachine(.demonstration(TestMachine.workload)) {
      $0.accelerator = accelerator
    }
    try source.machine.launch()
    #expect(source.wait { $0.reports.count >= 3 })
    try source.machine.stop()
    let state = try MachineState(of: source.machine.parts, source.machine.accelerator)
      .save(as: .running)

    let copy = try TestMachine(.demonstration(TestMachine.workload)) {
      $0.accelerator = accelerator
      $0.incoming = .deferred
    }
    #expect(copy.machine.runState == .inMigrate)
    try copy.machine.launch()
    #expect(copy.machine.runState == .inMigrate)
    try source.copyMemory(to: copy)
    let pending = try MachineState(of: copy.machine.parts, copy.machine.accelerator)
      .prepare(state)
    #expect(try pending.apply() == .running)
    try copy.machine.apply(.incomingDone(runs: true))
    #expect(copy.wait { $0.reports.count >= 5 }, "\(copy.serial)")
    let last = try #require(copy.reports.last)
    #expect(copy.reports.allSatisfy { $0.bad == 0 })
    #expect(last.t > source.reports.last?.t ?? 0)
  }

  /// Says "OK" on the serial port and switches the machine off: in 64-bit machine code.
  private static let flatProgram: [UInt8] = [
    0x66, 0xBA, 0xF8, 0x03,  // mov $0x3f8, %dx
    0xB0, 0x4F, 0xEE,  // mov $'O', %al; out %al, %dx
    0xB0, 0x4B, 0xEE,  // mov $'K', %al; out %al, %dx
    0x66, 0xBA, 0x04, 0x06,  // mov $0x604, %dx
    0x66, 0xB8, 0x00, 0x34, 0x66, 0xEF,  // mov $0x3400, %ax; out %ax, %dx
    0xF4, 0xEB, 0xFD,  // hlt; jmp .-1
  ]

  @Test(.enabled(if: TestMachine.hasKVM, "needs /dev/kvm"), .timeLimit(.minutes(1)))
  func `a flat image is entered where it was put, and can switch the machine off`() throws {
    let path = NSTemporaryDirectory() + "flat-\(UUID().uuidString)"
    try Data(Self.flatProgram).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let test = try TestMachine(.flat(path: path, address: 0x20_0000))
    try test.machine.launch()
    #expect(
      test.machine.waitUntilEnd() == MachineEnd(reason: .guestShutdown, isByGuest: true))
    #expect(test.serial == "OK")
  }

  @Test(.enabled(if: TestMachine.hasKVM, "needs /dev/kvm"), .timeLimit(.minutes(1)))
  func `a machine that is to stay is kept when its guest switches itself off`() throws {
    let path = NSTemporaryDirectory() + "flat-\(UUID().uuidString)"
    try Data(Self.flatProgram).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let test = try TestMachine(.flat(path: path, address: 0x20_0000)) {
      $0.staysOnShutdown = true
    }
    try test.machine.launch()
    #expect(test.wait { $0.machine.runState == .shutdown })
    #expect(throws: MachineError.self) { try test.machine.cont() }
    try test.machine.reset()
    #expect(test.machine.runState == .prelaunch)
    try test.machine.cont()
    #expect(test.wait { $0.serial == "OKOK" })
  }

  @Test(.enabled(if: TestMachine.hasKVM, "needs /dev/kvm"), .timeLimit(.minutes(1)))
  func `a triple fault resets the machine, or ends it where that is asked`() throws {
    // An instruction that is none, without a table to look its exception up in.
    let path = NSTemporaryDirectory() + "fault-\(UUID().uuidString)"
    try Data([0x0F, 0x0B]).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let test = try TestMachine(.flat(path: path, address: 0x20_0000)) { $0.endsOnReset = true }
    try test.machine.launch()
    #expect(test.machine.waitUntilEnd() == MachineEnd(reason: .guestReset, isByGuest: true))
  }

  @Test(arguments: [
    (1 << 20, "2 MiB to 64 TiB"), ((64 << 20) + 4096, "multiple of 2 MiB"),
    (1 << 47, "2 MiB to 64 TiB"),
  ])
  func `memory that cannot be is refused by a sentence`(size: UInt64, words: String) {
    let error = #expect(throws: MachineError.self) {
      try Machine(MachineConfiguration(memoryByteCount: size))
    }
    #expect("\(error!)".contains(words), "\(error!)")
  }

  @Test func `a stand-in is one everywhere it shows`() throws {
    let test = try TestMachine(.demonstration(TestMachine.workload)) {
      $0.accelerator = .synthetic
    }
    #expect(test.machine.standInNote?.contains("stand-in") == true)
    #expect(test.machine.facts.accelerator == .synthetic)
    let error = #expect(throws: MachineError.self) {
      try test.machine.registers(ofProcessor: 0)
    }
    #expect("\(error!)".contains("stand-in"))
    #expect(throws: MachineError.self) {
      try TestMachine(.kernel(path: "/x", initrd: nil, commandLine: "")) {
        $0.accelerator = .synthetic
      }
    }
  }
}

extension TestMachine {
  /// A hash over all of the guest's memory.
  func fingerprint() throws -> Int {
    let block = try #require(machine.ram.block(named: "pc.ram"))
    return try block.withBytes(offset: 0, byteCount: block.byteCount) { bytes in
      var hasher = Hasher()
      bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
      return hasher.finalize()
    }
  }

  func copyMemory(to other: TestMachine) throws {
    let from = try #require(machine.ram.block(named: "pc.ram"))
    let to = try #require(other.machine.ram.block(named: "pc.ram"))
    try from.withBytes(offset: 0, byteCount: from.byteCount) { bytes throws(GuestMemoryError) in
      try to.write(offset: 0, bytes)
    }
  }
}
