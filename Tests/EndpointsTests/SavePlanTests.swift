// How a save is planned: what is asked, held against what is sound.

import Testing

@testable import Endpoints

@Suite struct SavePlanTests {
  static func facts(
    version: (Int, Int) = (10, 0), kvm: Bool = false, running: Bool = true, disks: [String] = [],
    snapshot: Bool = true
  ) -> SourceFacts {
    SourceFacts(
      version: version, isKVM: kvm, isRunning: running, writableDisks: disks,
      canSnapshotInBackground: snapshot)
  }

  static func request(
    _ mode: SaveMode? = nil, then: AfterSave = .resume, ignoresDisks: Bool = false
  ) -> SaveRequest {
    SaveRequest(qmp: "vm.sock", name: "n", mode: mode, then: then, ignoresDisks: ignoresDisks)
  }

  /// What is known of a machine of Godwit's own.
  static func ownFacts(kvm: Bool, disks: [String] = []) -> SourceFacts {
    // A version that would be unsound in a QEMU: it counts for nothing here.
    var facts = Self.facts(version: (7, 2), kvm: kvm, disks: disks, snapshot: false)
    facts.isGodwit = true
    return facts
  }

  @Test(arguments: [true, false])
  func `a machine of Godwit's own is saved while it runs, whatever runs it`(kvm: Bool) throws {
    let facts = Self.ownFacts(kvm: kvm)
    let plan = try SavePlan(for: Self.request(), of: facts)
    #expect(plan.mode == .precopy)
    #expect(plan.note == nil)
    #expect(try SavePlan(for: Self.request(.precopy), of: facts) == plan)
    #expect(try SavePlan(for: Self.request(.paused), of: facts).mode == .paused)
    let error = #expect(throws: MoveError.self) {
      try SavePlan(for: Self.request(.live), of: facts)
    }
    for words in ["Godwit's own", "--live", "--paused"] {
      #expect(error?.description.contains(words) == true)
    }
  }

  @Test func `a machine of Godwit's own with disks does not go on without a word`() throws {
    let facts = Self.ownFacts(kvm: true, disks: ["disk0"])
    let error = #expect(throws: MoveError.self) { try SavePlan(for: Self.request(), of: facts) }
    for choice in ["disk0", "--then pause", "--then quit", "--disks ignore"] {
      #expect(error?.description.contains(choice) == true)
    }
    for then in [AfterSave.pause, .quit] {
      #expect(try SavePlan(for: Self.request(then: then), of: facts).mode == .precopy)
    }
  }

  @Test func `a sound QEMU is saved by precopy without a word`() throws {
    let plan = try SavePlan(for: Self.request(), of: Self.facts())
    #expect(plan.mode == .precopy)
    #expect(plan.note == nil)
  }

  @Test func `an old QEMU with KVM is sound`() throws {
    #expect(
      try SavePlan(for: Self.request(), of: Self.facts(version: (7, 2), kvm: true)).mode == .precopy
    )
  }

  @Test func `an old QEMU under TCG gets a background snapshot and says why`() throws {
    let plan = try SavePlan(for: Self.request(), of: Self.facts(version: (7, 2)))
    #expect(plan.mode == .live)
    #expect(plan.note?.contains("7.2") == true)
  }

  @Test func `without background snapshots the guest of an old QEMU is paused`() throws {
    let plan = try SavePlan(for: Self.request(), of: Self.facts(version: (7, 2), snapshot: false))
    #expect(plan.mode == .paused)
    #expect(plan.note?.contains("paused") == true)
  }

  @Test func `with disks that matter the guest of an old QEMU is paused too`() throws {
    let plan = try SavePlan(
      for: Self.request(then: .quit), of: Self.facts(version: (7, 2), disks: ["virtio0"]))
    #expect(plan.mode == .paused)
  }

  @Test func `a precopy that would lose writes is refused when it is asked for by name`() {
    #expect(throws: MoveError.self) {
      try SavePlan(for: Self.request(.precopy), of: Self.facts(version: (7, 2)))
    }
  }

  @Test func `a paused guest is copied as it stands`() throws {
    let plan = try SavePlan(
      for: Self.request(), of: Self.facts(version: (7, 2), running: false, disks: ["ide0"]))
    #expect(plan == (try SavePlan(for: Self.request(.paused), of: Self.facts(running: false))))
  }

  @Test(arguments: [SaveMode.precopy, .paused])
  func `writable disks and a guest that goes on are refused with the choices`(mode: SaveMode) {
    let error = #expect(throws: MoveError.self) {
      try SavePlan(for: Self.request(mode), of: Self.facts(disks: ["virtio0"]))
    }
    for choice in ["virtio0", "--then pause", "--then quit", "--disks ignore"] {
      #expect(error?.description.contains(choice) == true)
    }
  }

  @Test func `a background snapshot beside a writable disk is refused even before a pause`() {
    #expect(throws: MoveError.self) {
      try SavePlan(for: Self.request(.live, then: .pause), of: Self.facts(disks: ["virtio0"]))
    }
  }

  @Test(arguments: [SaveMode.precopy, .live, .paused])
  func `disks can be declared not to matter`(mode: SaveMode) throws {
    let plan = try SavePlan(
      for: Self.request(mode, ignoresDisks: true), of: Self.facts(disks: ["virtio0"]))
    #expect(plan.mode == mode)
  }
}
