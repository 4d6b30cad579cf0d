// How a move is planned: what is refused before anything runs, and what both ends are set to.

import QMP
import Testing

@testable import Endpoints

@Suite struct MigratePlanTests {
  static let capabilities: [String: Bool] = [
    "return-path": false, "postcopy-ram": false, "events": false, "multifd": false,
    "xbzrle": false, "auto-converge": false, "x-ignore-shared": false, "validate-uuid": false,
    "release-ram": false,
  ]

  static func end(
    _ address: String, _ version: (Int, Int) = (10, 0), isKVM: Bool = false,
    status: String = "running", process: Int32? = nil
  ) -> MigrateFacts {
    MigrateFacts(
      address: address, version: QEMUVersion(major: version.0, minor: version.1), isKVM: isKVM,
      runState: RunState(isRunning: status == "running", status: status), process: process,
      capabilities: capabilities,
      parameters: ["max-bandwidth", "max-postcopy-bandwidth", "downtime-limit", "tls-creds"],
      machine: CompatibilityTests.qemu)
  }

  static let source = end("a.sock")
  static let destination = end("b.sock", status: "inmigrate")
  static let request = MigrateRequest(source: "a.sock", destination: .local("b.sock"))

  private func plan(
    _ request: MigrateRequest = Self.request, from source: MigrateFacts = Self.source,
    to destination: MigrateFacts = Self.destination
  ) throws -> MigratePlan {
    try MigratePlan(for: request, from: source, to: destination)
  }

  /// The refusal's kind and sentences.
  private func refusal(
    _ request: MigrateRequest = Self.request, from source: MigrateFacts = Self.source,
    to destination: MigrateFacts = Self.destination
  ) throws -> MoveError {
    try #require(throws: MoveError.self) {
      try plan(request, from: source, to: destination)
    }
  }

  private func value(_ name: String, _ plan: MigratePlan) -> UInt64? {
    plan.sourceParameters.first { $0.name == name }?.value.uint64
  }

  @Test func `a running machine moves by precopy over a return path`() throws {
    let plan = try plan()
    #expect(plan.postcopy == nil)
    #expect(!plan.pausesFirst)
    #expect(plan.runsOnArrival)
    #expect(plan.notes.isEmpty)
    #expect(plan.sourceCapabilities.filter(\.isOn).map(\.name) == ["return-path"])
    #expect(plan.destinationCapabilities.filter(\.isOn).isEmpty)
    #expect(value("max-bandwidth", plan) == 0)
    #expect(value("downtime-limit", plan) == nil)
  }

  @Test func `postcopy is turned on at both ends, and nearly nothing left to the last pass`() throws
  {
    var request = Self.request
    request.postcopy = .firstPass
    let plan = try plan(request)
    #expect(plan.postcopy == .firstPass)
    #expect(plan.sourceCapabilities.filter(\.isOn).map(\.name) == ["return-path", "postcopy-ram"])
    #expect(plan.destinationCapabilities.filter(\.isOn).map(\.name) == ["postcopy-ram"])
    #expect(value("downtime-limit", plan) == 1)
    request.downtimeLimitMilliseconds = 40
    #expect(value("downtime-limit", try self.plan(request)) == 40)
  }

  @Test func `pages that the destination holds are left out where both ends know how`() throws {
    var (source, destination) = (Self.source, Self.destination)
    source.capabilities["x-known-pages"] = false
    #expect(
      try !plan(from: source).sourceCapabilities.contains { $0.name == "x-known-pages" && $0.isOn })
    destination.capabilities["x-known-pages"] = false
    let plan = try plan(from: source, to: destination)
    for capabilities in [plan.sourceCapabilities, plan.destinationCapabilities] {
      #expect(capabilities.contains { $0.name == "x-known-pages" && $0.isOn })
    }
  }

  /// A machine of Godwit's own that finds files as this process does.
  private func own(_ address: String, _ status: String) -> MigrateFacts {
    var end = Self.end(address, status: status)
    end.version = QEMUVersion(major: 10, minor: 0, package: QEMUVersion.godwitPackage)
    end.capabilities["postcopy-preempt"] = false
    end.sharesFiles = true
    return end
  }

  @Test func `requested pages have a connection of their own in a postcopy of Godwit's machines`()
    throws
  {
    let source = own("/run/a.sock", "running")
    let destination = own("unix:/run/b.sock", "inmigrate")
    var request = Self.request
    func isOn(_ requirements: [CapabilityRequirement]) -> Bool {
      requirements.contains { $0.name == "postcopy-preempt" && $0.isOn }
    }
    #expect(try plan(request, from: source, to: destination).meetingPlace == nil)
    request.postcopy = .now
    let plan = try plan(request, from: source, to: destination)
    #expect(plan.meetingPlace == .unix(path: "/run/b.sock.move"))
    #expect(isOn(plan.sourceCapabilities))
    #expect(isOn(plan.destinationCapabilities))
    let qemu = Self.end("/run/a.sock")
    var elsewhere = destination
    elsewhere.sharesFiles = false
    var older = destination
    older.capabilities["postcopy-preempt"] = nil
    for (one, other) in [(qemu, destination), (source, elsewhere), (source, older)] {
      let plan = try self.plan(request, from: one, to: other)
      #expect(plan.meetingPlace == nil)
      #expect(!isOn(plan.sourceCapabilities))
      #expect(!isOn(plan.destinationCapabilities))
    }
    // A monitor whose name leaves no room for another socket's.
    let long = own("/" + String(repeating: "b", count: 105), "inmigrate")
    #expect(try self.plan(request, from: source, to: long).meetingPlace == nil)
  }

  @Test func `what a machine of Godwit's left behind takes it back, no QEMU does`() throws {
    let left = MigrateFacts(
      address: "b.sock", version: QEMUVersion(major: 10, minor: 0, package: "Godwit"),
      isKVM: false,
      runState: RunState(isRunning: false, status: "postmigrate"), migration: .completed,
      capabilities: [:], parameters: [], machine: CompatibilityTests.qemu)
    #expect(try plan(to: left).notes.contains { $0.contains("left behind") })
    let error = try refusal(to: Self.end("b.sock", status: "postmigrate"))
    #expect(error.code == .wrongState)
  }

  @Test func `what changes the stream is off, what concerns the source alone is kept`() throws {
    var source = Self.source
    for name in ["multifd", "xbzrle", "auto-converge"] { source.capabilities[name] = true }
    let plan = try plan(from: source)
    let off = plan.sourceCapabilities.filter { !$0.isOn }.map(\.name)
    #expect(off.contains("multifd"))
    #expect(!off.contains("xbzrle"))
    #expect(!off.contains("auto-converge"))
    #expect(plan.notes.contains { $0.contains("multifd") && !$0.contains("xbzrle") })
  }

  @Test func `memory stays out of the stream only where both ends say so, and never by postcopy`()
    throws
  {
    var source = Self.source
    var destination = Self.destination
    source.capabilities["x-ignore-shared"] = true
    let one = try plan(from: source, to: destination)
    #expect(one.sourceCapabilities.contains { $0.name == "x-ignore-shared" && !$0.isOn })
    destination.capabilities["x-ignore-shared"] = true
    let both = try plan(from: source, to: destination)
    #expect(!both.sourceCapabilities.contains { $0.name == "x-ignore-shared" })
    #expect(!both.destinationCapabilities.contains { $0.name == "x-ignore-shared" })
    var request = Self.request
    request.postcopy = .now
    let postcopy = try plan(request, from: source, to: destination)
    #expect(postcopy.sourceCapabilities.contains { $0.name == "x-ignore-shared" && !$0.isOn })
  }

  @Test func `a rate that QEMU would take for no limit becomes the lowest it knows`() throws {
    var request = Self.request
    request.bytesPerSecond = 1
    let plan = try plan(request)
    #expect(value("max-bandwidth", plan) == 10)
    #expect(value("max-postcopy-bandwidth", plan) == 10)
    #expect(plan.notes.contains { $0.contains("At 10 B a second") && $0.contains("days") })
  }

  @Test func `a rate at which nobody sees the end is told of, whichever way the machine goes`()
    throws
  {
    for (isPaused, postcopy) in [
      (false, nil), (true, nil), (false, .firstPass), (false, .now), (true, .now),
    ] as [(Bool, PostcopyStart?)] {
      var request = Self.request
      request.bytesPerSecond = 1
      request.isPaused = isPaused
      request.postcopy = postcopy
      #expect(try plan(request).notes.contains { $0.contains("days") })
    }
  }

  @Test func `a downtime of 0 is set, and what it means is said`() throws {
    var request = Self.request
    request.downtimeLimitMilliseconds = 0
    let plan = try plan(request)
    #expect(value("downtime-limit", plan) == 0)
    #expect(plan.notes.contains { $0.contains("nothing at all is left") })
  }

  @Test func `a QEMU that loses writes is refused as a live source, with the ways that remain`()
    throws
  {
    let old = Self.end("a.sock", (7, 2))
    let error = try refusal(from: old)
    #expect(error.code == .refused)
    for word in ["7.2.0", "--postcopy=now", "--paused", "--force"] {
      #expect(error.description.contains(word), "\(error)")
    }
    var request = Self.request
    request.postcopy = .firstPass
    #expect(throws: MoveError.self) { try plan(request, from: old) }
    #expect(try plan(from: Self.end("a.sock", (10, 0))).notes.isEmpty)
  }

  @Test func `that QEMU's machine moves stopped, by postcopy at once, or by force`() throws {
    let old = Self.end("a.sock", (7, 2))
    var request = Self.request
    request.isPaused = true
    #expect(try plan(request, from: old).pausesFirst)
    request = Self.request
    request.postcopy = .now
    let now = try plan(request, from: old)
    #expect(now.pausesFirst && now.postcopy == .now && now.runsOnArrival)
    #expect(now.notes.count == 1)
    request = Self.request
    request.isForced = true
    let forced = try plan(request, from: old)
    #expect(!forced.pausesFirst)
    #expect(forced.notes.contains { $0.contains("--force") })
    let stopped = try plan(from: Self.end("a.sock", (7, 2), status: "paused"))
    #expect(!stopped.pausesFirst && !stopped.runsOnArrival)
  }

  @Test func `that QEMU is sound where KVM keeps the log`() throws {
    let plan = try plan(
      from: Self.end("a.sock", (7, 2), isKVM: true),
      to: Self.end("b.sock", (7, 2), isKVM: true, status: "inmigrate"))
    #expect(!plan.pausesFirst)
    #expect(plan.notes.isEmpty)
  }

  @Test func `the same machine at both ends is refused`() throws {
    let error = try refusal(
      from: Self.end("a.sock", process: 7), to: Self.end("a2.sock", process: 7))
    #expect(error.description.contains("itself"))
    #expect(error.description.contains("process 7"))
  }

  @Test(arguments: ["running", "paused", "prelaunch", "postmigrate"])
  func `a destination with a machine of its own is refused`(status: String) throws {
    let error = try refusal(to: Self.end("b.sock", status: status))
    #expect(error.code == .wrongState)
    #expect(error.description.contains("-incoming defer"))
    #expect(error.description.contains("'\(status)'"))
  }

  @Test func `a destination that waits at its own address, or has failed, is refused`() throws {
    for (status, word) in [
      (MigrationStatus.setup, "address of its own"), (.failed, "earlier move"),
    ] {
      var destination = Self.destination
      destination.migration = status
      #expect(try refusal(to: destination).description.contains(word))
    }
  }

  @Test func `a source that waits itself, has been moved, or moves now is refused`() throws {
    #expect(
      try refusal(from: Self.end("a.sock", status: "inmigrate")).description
        .contains("nothing to move"))
    #expect(
      try refusal(from: Self.end("a.sock", status: "postmigrate")).description.contains("'cont'"))
    var source = Self.source
    source.migration = .active
    #expect(try refusal(from: source).description.contains("'active'"))
    source.migration = .postcopyPaused
    #expect(try refusal(from: source).description.contains("--recover"))
  }

  @Test func `what forbids the source to migrate is passed on`() throws {
    var source = Self.source
    source.blockedReasons = ["a device cannot be moved"]
    #expect(try refusal(from: source).description.contains("a device cannot be moved"))
  }

  @Test func `every difference between the machines is named at once`() throws {
    var destination = Self.destination
    destination.machine.blocks[0].usedLength = 128 << 20
    destination.machine.blocks[0].maxLength = 128 << 20
    destination.processorCount = 2
    destination.isKVM = true
    let error = try refusal(to: destination)
    #expect(error.code == .mismatch)
    for word in ["-m 64M", "-smp 1", "without KVM", "in the source"] {
      #expect(error.description.contains(word), "\(error)")
    }
  }

  @Test func `an older destination and disks that differ are remarked on`() throws {
    var source = Self.source
    source.disks = ["vda": "a.img", "vdb": "b.img", "vdc": "c.img"]
    var destination = Self.end("b.sock", (7, 2), status: "inmigrate")
    destination.disks = ["vda": "a.img", "vdb": "other.img"]
    let notes = try plan(from: source, to: destination).notes
    #expect(notes.count == 3, "\(notes)")
    #expect(notes.contains { $0.contains("older") })
    #expect(notes.contains { $0.contains("b.img") && $0.contains("other.img") })
    #expect(notes.contains { $0.contains("vdc") && $0.contains("not there") })
  }

  @Test func `on another host a disk of the same name is not taken for the same disk`() throws {
    var (source, destination) = (Self.source, Self.destination)
    source.disks = ["vda": "a.img"]
    destination.disks = source.disks
    #expect(try plan(from: source, to: destination).notes.isEmpty)
    destination.isRemote = true
    let notes = try plan(from: source, to: destination).notes
    #expect(notes.count == 1)
    #expect(notes.first?.contains("a.img") == true && notes.first?.contains("both hosts") == true)
  }
}
