// The states of a migration, and the steps between them.

import MigrationCore
import Testing

@Suite struct `The status of a migration` {
  @Test func `every state but the first can be reached`() {
    var reached: Set<MigrationStatus> = [.none, .postcopyPaused]
    while true {
      let next = reached.union(reached.flatMap { MigrationStatus.successors[$0] ?? [] })
      if next == reached { break }
      reached = next
    }
    #expect(reached == Set(MigrationStatus.allCases))
  }

  @Test func `the table names every state`() {
    #expect(Set(MigrationStatus.successors.keys) == Set(MigrationStatus.allCases))
  }

  @Test(arguments: [
    (MigrationStatus.completed, true), (.failed, true), (.cancelled, true),
    (.postcopyPaused, false), (.active, false),
  ])
  func `what is over is over`(status: MigrationStatus, isFinal: Bool) {
    #expect(status.isFinal == isFinal)
  }

  @Test func `a running destination never counts as failed`() {
    for status in [MigrationStatus.postcopyActive, .postcopyPaused, .postcopyRecover] {
      #expect(!status.allows(.failed))
      #expect(!status.allows(.cancelling))
    }
  }

  @Test func `an illegal step is refused and changes nothing`() throws {
    var line = StatusLine()
    try line.advance(to: .setup)
    #expect(throws: IllegalTransition.self) {
      try line.advance(to: .completed)
    }
    #expect(line.current == .setup)
    try line.advance(to: .setup)
  }

  @Test func `a recovery begins where the last link left it`() throws {
    var line = StatusLine(from: .postcopyPaused)
    for status in [MigrationStatus.postcopyRecover, .postcopyActive, .postcopyPaused] {
      try line.advance(to: status)
    }
    #expect(line.current == .postcopyPaused)
  }
}
