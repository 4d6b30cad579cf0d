// A small machine with the demonstration's guest that a test moves, and waits for.

import DemoGuest
import DirtyTracking
import Foundation
import GuestMemory
import JSON
import MigrationEngine
import QMP
import Synchronization
import Testing
import Transport

@testable import VMM

/// A machine in this process whose guest says on its serial port how it does.
final class MovingMachine {
  let machine: Machine
  let serial: String
  /// What its migration told, in order.
  let events: RecordedEvents

  static let byteCount = 16 << 20

  /// A machine that runs, or waits to be sent to and then stays paused unless `runsOn`.
  init(
    isIncoming: Bool = false, byteCount: Int = byteCount, runsOn: Bool = false,
    accelerator: AcceleratorKind = .kvm, dirtyLog: DirtyLogKind? = nil, megabytesPerSecond: Int = 1,
    workingMegabytes: Int = 4, freePercent: Int = 0, reusedMegabytesPerSecond: Int = 0,
    usesHugePages: Bool = false, known: [KnownContentPlace] = []
  ) throws {
    serial = Self.path("serial")
    var configuration = MachineConfiguration(memoryByteCount: UInt64(byteCount))
    var workload = MachineConfiguration.Workload()
    workload.megabytesPerSecond = megabytesPerSecond
    workload.memoryMegabytes = workingMegabytes
    workload.reportMilliseconds = 100
    workload.freePercent = freePercent
    // All of it, several times while a test waits for a report or two.
    if freePercent > 0 { workload.checkedMegabytesPerSecond = 2 * workingMegabytes }
    workload.reusedMegabytesPerSecond = reusedMegabytesPerSecond
    configuration.boot = .demonstration(workload)
    configuration.serial = .file(path: serial)
    configuration.accelerator = accelerator
    configuration.dirtyLog = dirtyLog
    configuration.incoming = isIncoming ? .deferred : nil
    configuration.startsPaused = isIncoming && !runsOn
    configuration.usesHugePages = usesHugePages
    configuration.known = known
    configuration.pagerCommand = try OwnExecutable.pagerCommand()
    machine = try Machine(configuration)
    let events = RecordedEvents()
    self.events = events
    machine.migration.observe { events.append($0) }
    try machine.launch()
  }

  deinit {
    machine.quit()
    try? FileManager.default.removeItem(atPath: serial)
  }

  static func path(_ kind: String) -> String {
    "\(FileManager.default.temporaryDirectory.path)/godwit-\(kind)-\(UUID().uuidString.prefix(8))"
  }

  static func options(_ capabilities: Set<String>) -> MigrationOptions {
    var options = MigrationOptions.standard
    options.capabilities = capabilities
    return options
  }

  var reports: [DemoGuestReport] {
    let text = (try? String(contentsOfFile: serial, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
  }

  /// Waits until the guest has said so many times more how it does, always that it is well.
  func requireHealth(reports more: Int = 3) throws {
    let before = reports.count
    try wait("\(more) reports; the guest wrote \(reports)") { reports.count >= before + more }
    #expect(reports.allSatisfy { $0.bad == 0 })
  }

  func send(
    _ uri: String, _ capabilities: Set<String> = [], resumes: Bool = false,
    _ change: (inout MigrationOptions) -> Void = { _ in }
  ) throws {
    var options = Self.options(capabilities)
    change(&options)
    try machine.migration.send(to: .address(MigrationURI(uri)), options, resumes: resumes)
  }

  func receive(_ uri: String, _ capabilities: Set<String> = []) throws {
    try machine.migration.receive(
      from: .address(MigrationURI(uri)), Self.options(capabilities), exitsOnError: false)
  }

  /// The address that it listens at, the real port included.
  var listeningAddress: String {
    machine.migration.account.listeningAddresses.first.map { "\($0)" } ?? ""
  }

  /// Waits for the end of a migration and returns how it ended.
  @discardableResult
  func migrationEnd() throws -> MigrationAccount {
    try wait("the end of the migration") { machine.migration.account.status.isTerminal }
    return machine.migration.account
  }

  /// Waits until something is so.
  func wait(_ what: String, _ isReached: () -> Bool) throws {
    let end = ContinuousClock.now + .seconds(40)
    while !isReached() {
      guard ContinuousClock.now < end else {
        throw Silence(
          what: what, state: "\(machine.runState)", trouble: machine.trouble,
          account: machine.migration.account)
      }
      Thread.sleep(forTimeInterval: 0.005)
    }
  }

  private struct Silence: Error {
    var what: String
    var state: String
    var trouble: String?
    var account: MigrationAccount
  }

  /// Its memory, all of it, while it stands still.
  func memory() throws -> Data {
    let block = try #require(machine.ram.blocks.first)
    return try block.withBytes(offset: 0, byteCount: block.byteCount) {
      (bytes) throws(GuestMemoryError) in bytes.withUnsafeBytes { Data($0) }
    }
  }

  /// Where its first processor stands.
  func instructionPointer() throws -> UInt64 {
    try machine.registers(ofProcessor: 0).instructionPointer
  }
}

/// Events of a migration, from any thread.
final class RecordedEvents: Sendable {
  private let events = Mutex<[MigrationEvent]>([])

  func append(_ event: MigrationEvent) { events.withLock { $0.append(event) } }

  var all: [MigrationEvent] { events.withLock { $0 } }
}

extension MigrationOptions {
  /// Sets a parameter.
  mutating func set(_ name: String, _ value: Int) { set(name, JSONValue(value)) }

  mutating func set(_ name: String, _ value: JSONValue) {
    guard let index = parameters.firstIndex(where: { $0.name == name }) else { return }
    parameters[index].value = value
  }
}
