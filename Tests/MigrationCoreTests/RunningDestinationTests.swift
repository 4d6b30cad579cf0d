// A destination that runs its machine before all of its memory is there, message by message.

import MigrationCore
import Testing
import Wire

@Suite struct `The destination of a postcopy` {
  private let configuration = StreamConfiguration(machine: "godwit-pc-1")
  private let blocks = [RAMBlockDescription(name: "pc.ram", usedLength: 1 << 20)]
  private let page = RAMPageAddress(blockIndex: 0, offset: 0)
  private let advice = PostcopyAdvice(pageSizeSummary: 4096, targetPageSize: 4096)

  /// A machine that has received everything up to its pages.
  private func advised(runsMachine: Bool = true) throws -> DestinationStateMachine {
    var machine = DestinationStateMachine(runsMachine: runsMachine)
    _ = try machine.on(.configuration(configuration))
    _ = try machine.on(.command(.openReturnPath))
    let actions = try machine.on(.command(.postcopyAdvise(advice)))
    #expect(actions == (runsMachine ? [.advise(advice)] : []))
    _ = try machine.on(.ramBlocks(blocks))
    return machine
  }

  private func package() throws -> [UInt8] {
    try PackagedState(deviceBytes: [4, 0, 0, 0, 1]).encoded()
  }

  private func running() throws -> DestinationStateMachine {
    var machine = try advised()
    let actions = try machine.on(.command(.packaged(try package())))
    #expect(actions == [.run(DeviceState(bytes: [4, 0, 0, 0, 1], description: nil), ping: 3)])
    return machine
  }

  @Test func `an instant restore, event by event`() throws {
    var machine = try advised()
    try machine.onPage(page)
    let range = RAMDiscardRange(start: 0, length: 1 << 20)
    #expect(
      try machine.on(.command(.ramDiscard(block: "pc.ram", ranges: [range])))
        == [.discard(block: "pc.ram", [range])])
    #expect(try machine.on(.command(.ping(2))) == [.reply(.pong(2))])
    _ = try machine.on(.command(.packaged(try package())))
    #expect(machine.phase == .running)
    #expect(try machine.on(.command(.ping(4))) == [.reply(.pong(4))])
    try machine.onPage(page)
    #expect(try machine.on(.sectionEnd(id: 2)) == [])
    #expect(try machine.on(.endOfStream) == [.seal])
    #expect(machine.sealed() == [.reply(.shut(status: 0))])
    let goesOn = machine.linkLost()
    #expect(!goesOn, "what is complete needs no link")
  }

  @Test func `what fails once all has come leaves the machine running, for another link`() throws {
    var machine = try running()
    #expect(try machine.on(.endOfStream) == [.seal])
    let goesOn = machine.linkLost()
    try #require(goesOn)
    machine.relinked()
    #expect(try machine.on(.command(.postcopyResume)).count == 2)
    #expect(try machine.on(.endOfStream) == [.seal])
    #expect(machine.sealed() == [.reply(.shut(status: 0))])
  }

  @Test func `a broken link is answered by a recovery, any number of times`() throws {
    var machine = try running()
    for _ in 0..<3 {
      var goesOn = machine.linkLost()
      #expect(goesOn)
      #expect(machine.phase == .interrupted)
      machine.relinked()
      #expect(
        try machine.on(.command(.receiveBitmap(block: "pc.ram")))
          == [.replyBitmap(block: "pc.ram")])
      // It may break in the middle of that, too.
      goesOn = machine.linkLost()
      #expect(goesOn)
      machine.relinked()
      _ = try machine.on(.command(.receiveBitmap(block: "pc.ram")))
      #expect(throws: DestinationStateMachine.Refusal.self) { try machine.onPage(page) }
      #expect(
        try machine.on(.command(.postcopyResume))
          == [.reply(.resumeAcknowledge(1)), .askAgain])
      try machine.onPage(page)
    }
    #expect(try machine.on(.endOfStream) == [.seal])
  }

  @Test func `before the machine was handed over, a broken link is its end`() throws {
    var machine = try advised()
    let goesOn = machine.linkLost()
    #expect(!goesOn)
    #expect(machine.fail() == [.reply(.shut(status: 1))])
  }

  @Test func `what keeps machines and runs none refuses the switch`() throws {
    var machine = try advised(runsMachine: false)
    #expect(throws: DestinationStateMachine.Refusal.self) {
      try machine.on(.command(.packaged(try package())))
    }
  }

  @Test func `a postcopy that was not announced is refused`() throws {
    var machine = DestinationStateMachine(runsMachine: true)
    _ = try machine.on(.configuration(configuration))
    _ = try machine.on(.command(.openReturnPath))
    _ = try machine.on(.ramBlocks(blocks))
    let blob = try package()
    #expect(throws: DestinationStateMachine.Refusal.self) {
      try machine.on(.command(.packaged(blob)))
    }
    #expect(throws: DestinationStateMachine.Refusal.self) {
      try machine.on(.command(.ramDiscard(block: "pc.ram", ranges: [])))
    }
  }

  @Test func `commands of another moment are refused`() throws {
    let commands: [VMCommand] = [
      .postcopyAdvise(advice), .packaged(try package()), .postcopyListen, .postcopyRun,
      .postcopyResume, .receiveBitmap(block: "pc.ram"), .ramDiscard(block: "pc.ram", ranges: []),
    ]
    for command in commands {
      var machine = try running()
      #expect(throws: DestinationStateMachine.Refusal.self) {
        try machine.on(.command(command))
      }
    }
  }

  @Test(arguments: [[], [8, 0], [UInt8](repeating: 0, count: 64)] as [[UInt8]])
  func `a package that is none is refused`(blob: [UInt8]) throws {
    var machine = try advised()
    #expect(throws: DestinationStateMachine.Refusal.self) {
      try machine.on(.command(.packaged(blob)))
    }
    #expect(machine.phase == .receivingPages)
  }
}
