// What a destination does about each message, and which it refuses where.

import MigrationCore
import Testing
import Wire

@Suite struct `The destination of a save` {
  private let configuration = StreamConfiguration(machine: "pc-q35-7.2")
  private let blocks = [RAMBlockDescription(name: "pc.ram", usedLength: 1 << 20)]
  private let page = RAMPageAddress(blockIndex: 0, offset: 0)
  private let devices = DeviceState(bytes: [4, 0, 0, 0, 1], description: nil)

  /// A machine that has received everything up to its first page.
  private func receiving(_ commands: [VMCommand] = []) throws -> DestinationStateMachine {
    var machine = DestinationStateMachine()
    _ = try machine.on(.header)
    _ = try machine.on(.configuration(configuration))
    for command in commands { _ = try machine.on(.command(command)) }
    _ = try machine.on(.sectionStart(.ram(id: 2)))
    #expect(try machine.on(.ramBlocks(blocks)) == [.prepare(configuration, blocks)])
    return machine
  }

  @Test func `a live precopy with return path, event by event`() throws {
    var machine = DestinationStateMachine()
    _ = try machine.on(.header)
    _ = try machine.on(.configuration(configuration))
    #expect(try machine.on(.command(.openReturnPath)) == [])
    #expect(try machine.on(.command(.ping(1))) == [.reply(.pong(1))])
    #expect(try machine.on(.command(.postcopyAdvise(nil))) == [])
    #expect(machine.wasAdvised)
    #expect(try machine.on(.ramBlocks(blocks)) == [.prepare(configuration, blocks)])
    for event in [StreamEvent.ramEndOfSection, .sectionPart(id: 2), .multifdFlush] {
      #expect(try machine.on(event) == [])
    }
    try machine.onPage(page)
    try machine.onPage(page)
    #expect(try machine.on(.command(.switchoverStart)) == [])
    #expect(try machine.on(.deviceState(devices)) == [.takeDeviceState(devices), .seal])
    #expect(machine.sealed() == [.reply(.shut(status: 0))])
    #expect(try machine.on(.endOfStream) == [])
    try machine.onEndOfInput()
    #expect(machine.phase == .completed)
    #expect(machine.fail() == [], "what is kept stays kept")
  }

  @Test func `a background snapshot has no end of memory, and no return path`() throws {
    var machine = try receiving()
    try machine.onPage(page)
    #expect(try machine.on(.deviceState(devices)).last == .seal)
    #expect(machine.sealed() == [])
  }

  @Test func `the acknowledgement of a switchover goes out where it was agreed on`() throws {
    var machine = DestinationStateMachine(sendsSwitchoverAcknowledgement: true)
    _ = try machine.on(.configuration(configuration))
    #expect(try machine.on(.command(.openReturnPath)) == [.reply(.switchoverAcknowledge)])
  }

  @Test(arguments: [
    VMCommand.postcopyListen, .postcopyRun, .packaged([]), .ramDiscard(block: "a", ranges: []),
    .postcopyResume, .receiveBitmap(block: "a"), .enableCOLO([]), .ping(1),
    .postcopyAdvise(nil),
  ])
  func `commands that cannot be followed are refused in words`(command: VMCommand) throws {
    var machine = try receiving()
    let refusal = #expect(throws: DestinationStateMachine.Refusal.self) {
      try machine.on(.command(command))
    }
    #expect(refusal?.description.hasSuffix(".") ?? false)
    #expect(machine.fail() == [])
    #expect(machine.phase == .failed)
  }

  @Test func `a source with return path hears of a failure`() throws {
    var machine = try receiving([.openReturnPath])
    #expect(machine.fail() == [.reply(.shut(status: 1))])
    #expect(machine.fail() == [])
  }

  @Test func `other sections that come in parts are refused`() throws {
    var machine = try receiving()
    for name in ["dirty-bitmap", "vfio"] {
      #expect(throws: DestinationStateMachine.Refusal.self) {
        try machine.on(
          .sectionStart(SectionHeader(id: 9, name: name, instanceID: 0, versionID: 1)))
      }
    }
  }

  @Test func `events out of order are refused`() throws {
    var early = DestinationStateMachine()
    #expect(throws: DestinationStateMachine.Refusal.self) { try early.on(.ramBlocks(blocks)) }
    #expect(throws: DestinationStateMachine.Refusal.self) { try early.onPage(page) }
    #expect(throws: DestinationStateMachine.Refusal.self) { try early.on(.deviceState(devices)) }
    #expect(throws: DestinationStateMachine.Refusal.self) { try early.onEndOfInput() }
    var late = try receiving()
    #expect(throws: DestinationStateMachine.Refusal.self) { try late.on(.ramBlocks(blocks)) }
    #expect(throws: DestinationStateMachine.Refusal.self) {
      try late.on(.configuration(configuration))
    }
    _ = try late.on(.deviceState(devices))
    #expect(throws: DestinationStateMachine.Refusal.self) { try late.onPage(page) }
    #expect(throws: DestinationStateMachine.Refusal.self) { try late.on(.deviceState(devices)) }
  }

  @Test func `passes over memory are counted`() throws {
    var machine = try receiving()
    let other = RAMPageAddress(blockIndex: 1, offset: 0)
    for page in [page, page, other, page, other] { try machine.onPage(page) }
    #expect(machine.passCount == 2)
  }
}
