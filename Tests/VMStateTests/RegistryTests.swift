// RegistryTests.swift: a whole machine is saved and loaded, or refused, in one piece.

import FuzzFrame
import JSON
import Testing
import VMStateLab
import Wire

@testable import VMState

@Suite struct RegistryTests {
  private func machine(_ seed: UInt64, runState: String = "running") -> SampleMachine {
    var random = SplitMix(state: seed)
    return SampleMachine(
      Sample(random: &random), Sample(random: &random), runState: runState)
  }

  @Test func `a machine comes back whole`() throws {
    let machine = machine(1)
    let state = try machine.registry().save()
    let other = SampleMachine()
    try other.registry().load(state)
    #expect(other.first.current == machine.first.current)
    #expect(other.second.current == machine.second.current)
    #expect(other.currentRunState == "running")
    #expect(try state.globalState()?.runState == "running")
  }

  @Test(arguments: 1..<20 as Range<UInt64>)
  func `the description that is written decodes every field by its name`(seed: UInt64) throws {
    let machine = machine(seed)
    let state = try machine.registry().save()
    let json = try #require(state.description)
    let description = try VMDescription(parsing: json)
    #expect(description.encoded() == json)
    #expect(description.pageSize == 4096)
    let sections = try state.sections()
    #expect(sections.map(\.header.name) == ["sample", "sample", "globalstate"])
    #expect(sections.map(\.header.instanceID) == [0, 1, 0])
    let sample = machine.first.current
    let fields = try sections[0].fields()
    #expect(fields["control"] == .unsigned(UInt64(sample.control)))
    #expect(fields["delta"] == .signed(Int64(sample.delta)))
    #expect(fields["is_on"] == .bool(sample.isOn))
    #expect(fields["alarm"] == .timer(nanoseconds: sample.alarm))
    #expect(fields["key"] == .buffer(sample.key))
    #expect(fields["input"] == .buffer(sample.input))
    #expect(fields["features"] == .bitmap(sample.features))
    #expect(fields["extra"] == .unsigned(UInt64(sample.extra)))
    #expect(fields["registers"] == .array(sample.registers.map { .unsigned(UInt64($0)) }))
    #expect(fields["sample/history"] != nil || sample.history.isEmpty)
    var names: Set<String> = []
    for section in sections { collect(try section.fields(), &names) }
    #expect(names.isDisjoint(with: ["rest", "data"]))
    #expect(names.isSuperset(of: ["right", "address", "head", "pending_count", "runstate"]))
  }

  private func collect(_ fields: [DeviceField], _ names: inout Set<String>) {
    for field in fields {
      names.insert(field.name)
      collect(field.value, &names)
    }
  }

  private func collect(_ value: DeviceValue, _ names: inout Set<String>) {
    switch value {
    case .structure(let fields): collect(fields, &names)
    case .array(let values): for value in values { collect(value, &names) }
    case .opaque(let bytes): Issue.record("\(bytes.count) bytes without a layout")
    default: break
    }
  }

  @Test func `the sections are found in a stream, and loaded from it`() throws {
    let machine = machine(3)
    let state = try machine.registry().save()
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "godwit-1"))
    encoder.buffer += state.bytes
    encoder.appendEndOfStream()
    encoder.appendDescription(state.description ?? [])
    var decoder = StreamDecoder()
    var visitor = TailVisitor()
    try encoder.buffer.withUnsafeBytes { bytes in
      try decoder.feed(bytes.bytes, to: &visitor)
    }
    #expect(visitor.state == state)
  }

  private struct TailVisitor: StreamVisitor {
    var state: DeviceState?
    mutating func visit(_ event: StreamEvent) {
      if case .deviceState(let found) = event { state = found }
    }
    mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) {}
    mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) {}
    mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) {}
  }

  @Test func `no truncation and no damage loads half a machine`() throws {
    let state = try machine(4).registry().save()
    var random = SplitMix(state: 9)
    for count in 0..<state.bytes.count {
      for description in [state.description, nil] {
        let part = DeviceState(bytes: Array(state.bytes[..<count]), description: description)
        try expectNothingLoaded(from: part)
      }
    }
    var refusals = 0
    for _ in 0..<200 {
      var damaged = state
      let place = random.below(damaged.bytes.count)
      damaged.bytes[place] ^= 1 << UInt8(random.below(8))
      let machine = SampleMachine()
      do {
        try machine.registry().load(damaged)
      } catch {
        refusals += 1
        #expect(machine.first.current == Sample() && machine.second.current == Sample())
      }
    }
    #expect(refusals > 0)
  }

  private func expectNothingLoaded(from state: DeviceState) throws {
    let machine = SampleMachine()
    #expect(throws: VMStateError.self) { try machine.registry().load(state) }
    #expect(machine.first.current == Sample())
    #expect(machine.second.current == Sample())
    #expect(machine.currentRunState == "paused")
  }

  @Test func `sections go by priority, then in the order of their registration`() throws {
    struct Empty: Sendable {}
    var registry = VMStateRegistry()
    for (name, priority) in [
      ("z", .last), ("a", .device), ("cpu", .processor), ("b", .device), ("clock", .platform),
    ] as [(String, VMStatePriority)] {
      let description = VMStateDescription<Empty>(name: name, version: 1, priority: priority)
      try registry.add(VMStateDevice(description, capture: { Empty() }, apply: { _ in }))
    }
    #expect(registry.sections.map(\.name) == ["cpu", "clock", "a", "b", "z"])
    registry.remove(name: "a", instance: 0)
    #expect(try registry.save().sections().map(\.header.name) == ["cpu", "clock", "b", "z"])
  }

  @Test func `a device more or less is named`() throws {
    let state = try machine(5).registry().save()
    var smaller = try SampleMachine().registry()
    smaller.remove(name: "sample", instance: 1)
    let surplus = #expect(throws: VMStateError.self) { try smaller.load(state) }
    #expect(surplus?.kind == .unexpectedSection)
    #expect(surplus?.device == "sample" && surplus?.instance == 1)

    let larger = #expect(throws: VMStateError.self) {
      var registry = try SampleMachine().registry()
      try registry.add(SampleDevice(instance: 2).vmstate)
      try registry.load(state)
    }
    #expect(larger?.kind == .missingSection)
    #expect(larger?.instance == 2)

    let twice = #expect(throws: VMStateError.self) {
      let bytes = state.bytes + state.bytes
      try SampleMachine().registry().load(
        DeviceState(bytes: bytes, description: state.description))
    }
    #expect(twice?.kind == .unexpectedSection)

    let same = #expect(throws: VMStateError.self) {
      var registry = try SampleMachine().registry()
      try registry.add(SampleDevice().vmstate)
    }
    #expect(same?.action == .registering)
  }

  @Test func `a section that is not needed may be missing`() throws {
    struct Optional: Sendable { var value: UInt8 = 0 }
    let description = VMStateDescription<Optional>(
      name: "optional", version: 1, needed: { $0.value > 0 },
      fields: [.uint8("value", \.value)])
    var registry = try SampleMachine().registry()
    try registry.add(VMStateDevice(description, capture: { Optional() }, apply: { _ in }))
    let state = try registry.save()
    #expect(try state.sections().count == 3)
    try registry.load(state)
  }

  @Test func `what cannot be saved is known before, with its reason`() throws {
    var registry = try SampleMachine().registry()
    #expect(registry.unmigratableReasons.isEmpty)
    try registry.add(
      VMStateDevice(
        VMStateDescription<Sample>(name: "passthrough", version: 1), capture: { Sample() },
        apply: { _ in }, unmigratable: { "it is a real device" }))
    #expect(registry.unmigratableReasons == ["passthrough: it is a real device"])
    let error = #expect(throws: VMStateError.self) { try registry.save() }
    #expect(error?.kind == .unmigratable)
    #expect(error?.device == "passthrough")
  }

  @Test func `a state that does not suit the device is refused before any is applied`() throws {
    let state = try machine(6).registry().save()
    let machine = SampleMachine()
    var registry = VMStateRegistry()
    for section in try machine.registry().sections where section.instance == 0 {
      try registry.add(section)
    }
    try registry.add(
      VMStateDevice(
        Sample.description, instance: 1, capture: { Sample() },
        check: { _ in throw SampleDevice.Refusal() }, apply: { _ in }))
    let error = #expect(throws: VMStateError.self) { try registry.load(state) }
    #expect(error?.action == .loading && error?.instance == 1)
    #expect(machine.first.current == Sample())
  }

  @Test func `a device that does not take its state is named`() throws {
    var registry = VMStateRegistry()
    try registry.add(SampleDevice(isStubborn: true).vmstate)
    let error = #expect(throws: VMStateError.self) { try registry.load(registry.save()) }
    #expect(error?.action == .applying)
    #expect(error?.kind == .refused)
  }
}

extension [DeviceField] {
  fileprivate subscript(name: String) -> DeviceValue? { first { $0.name == name }?.value }
}
