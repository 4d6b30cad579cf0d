// Which run states follow which, and what a person reads where none does.

import Testing

@testable import VMM

struct RunStateTests {
  @Test func `a machine is launched, stopped and continued`() throws {
    var machine = RunStateMachine()
    #expect(machine.state == .prelaunch)
    #expect(try machine.on(.launch) == .run)
    #expect(try machine.on(.stop) == .halt)
    #expect(machine.state == .paused)
    #expect(try machine.on(.stop) == .none)
    #expect(try machine.on(.cont) == .run)
    #expect(try machine.on(.cont) == .none)
  }

  @Test func `stop and cont decide what follows an incoming state`() throws {
    var machine = RunStateMachine(isIncoming: true)
    #expect(machine.startsAfterIncoming)
    #expect(try machine.on(.stop) == .none)
    #expect(!machine.startsAfterIncoming)
    #expect(try machine.on(.cont) == .none)
    #expect(machine.startsAfterIncoming)
    #expect(try machine.on(.incomingDone(runs: true)) == .run)
    #expect(machine.state == .running)
  }

  @Test func `a move that fails goes back to where it came from`() throws {
    var machine = RunStateMachine()
    _ = try machine.on(.launch)
    #expect(try machine.on(.sendingEnds) == .halt)
    #expect(try machine.on(.sendingFailed(wasRunning: true)) == .run)
    _ = try machine.on(.stop)
    #expect(try machine.on(.sendingEnds) == .none)
    #expect(try machine.on(.sendingFailed(wasRunning: false)) == .none)
    #expect(machine.state == .paused)
  }

  @Test func `a machine that was sent can run on here`() throws {
    var machine = RunStateMachine()
    _ = try machine.on(.launch)
    _ = try machine.on(.sendingEnds)
    _ = try machine.on(.sendingDone)
    #expect(machine.state == .postMigrate)
    #expect(try machine.on(.cont) == .run)
  }

  @Test func `what a machine left behind takes it back, or runs if it does not come`() throws {
    var machine = RunStateMachine()
    for event in [RunEvent.launch, .sendingEnds, .sendingDone] { _ = try machine.on(event) }
    #expect(machine.startsAfterIncoming)
    _ = try machine.on(.stop)
    #expect(!machine.startsAfterIncoming, "as with one that waits")
    #expect(try machine.on(.incomingBegins) == .none)
    #expect(machine.state == .inMigrate)
    #expect(try machine.on(.cont) == .none, "it only says what follows")
    #expect(try machine.on(.incomingFailed) == .none)
    #expect(machine.state == .postMigrate)
    var other = machine
    #expect(try other.on(.cont) == .run)
    _ = try machine.on(.incomingBegins)
    _ = try machine.on(.incomingOverwrites)
    #expect(try machine.on(.incomingDone(runs: true)) == .run)
    for event in [RunEvent.sendingEnds, .sendingDone] { _ = try machine.on(event) }
    #expect(try machine.on(.cont) == .run, "it was whole when it went again")
  }

  @Test func `what was written over in part does not run, and says why`() throws {
    var machine = RunStateMachine()
    for event in [RunEvent.launch, .sendingEnds, .sendingDone, .incomingBegins] {
      _ = try machine.on(event)
    }
    _ = try machine.on(.incomingOverwrites)
    _ = try machine.on(.incomingFailed)
    #expect(machine.state == .postMigrate)
    for event in [RunEvent.cont, .sendingEnds, .saveBegins] {
      let refusal = #expect(throws: RunStateViolation.self) { try machine.on(event) }
      #expect("\(refusal!)".contains("move it back once more"))
    }
    var again = machine
    _ = try again.on(.incomingBegins)
    #expect(try again.on(.incomingDone(runs: true)) == .run)
    _ = try machine.on(.reset)
    #expect(try machine.on(.cont) == .run)
  }

  @Test func `one that was started to be sent to stays so when nothing came`() throws {
    var machine = RunStateMachine(isIncoming: true)
    _ = try machine.on(.incomingOverwrites)
    _ = try machine.on(.incomingFailed)
    #expect(machine.state == .inMigrate)
    #expect(throws: RunStateViolation.self) { try machine.on(.incomingBegins) }
  }

  @Test func `after an error only a reset helps, and the refusal says so`() throws {
    var machine = RunStateMachine()
    _ = try machine.on(.launch)
    #expect(try machine.on(.internalError) == .halt)
    let refusal = #expect(throws: RunStateViolation.self) { try machine.on(.cont) }
    #expect("\(refusal!)".contains("system_reset"))
    #expect(try machine.on(.reset) == .none)
    #expect(machine.state == .prelaunch)
    #expect(try machine.on(.cont) == .run)
  }

  @Test func `whatever happens, the actions tell whether processors run`() {
    let events: [RunEvent] = [
      .launch, .stop, .cont, .reset, .guestShutdown, .guestPanic, .ioError, .internalError,
      .sendingEnds, .sendingDone, .sendingFailed(wasRunning: true),
      .sendingFailed(wasRunning: false), .incomingDone(runs: true), .incomingDone(runs: false),
      .incomingBegins, .incomingOverwrites, .incomingFailed,
      .saveBegins, .restoreBegins, .snapshotDone(runs: true), .snapshotDone(runs: false),
    ]
    var random = SystemRandomNumberGenerator()
    for isIncoming in [false, true] {
      var machine = RunStateMachine(isIncoming: isIncoming)
      var isRunning = false
      for _ in 0..<20_000 {
        guard let event = events.randomElement(using: &random) else { return }
        let before = machine
        do {
          switch try machine.on(event) {
          case .run: isRunning = true
          case .halt: isRunning = false
          case .none: break
          }
        } catch {
          #expect(machine == before, "a refused event changes nothing")
        }
        #expect(machine.state.isRunning == isRunning)
      }
    }
  }
}
