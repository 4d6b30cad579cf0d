// After a move that failed: whatever both ends say, at most one runs, and the person is told which.

import QMP
import Testing

@testable import Endpoints

@Suite struct MigrateAftermathTests {
  private static func end(_ status: String, _ migration: MigrationStatus) -> MigrateEnd {
    .answers(RunState(isRunning: status == "running", status: status), migration)
  }

  private static let statuses: [MigrationStatus] = [
    .none, .setup, .active, .device, .postcopyActive, .postcopyPaused, .completed, .failed,
    .cancelled,
  ]
  private static let ends: [MigrateEnd] =
    [.gone, .silent]
    + ["running", "paused", "inmigrate", "finish-migrate", "postmigrate"].flatMap { state in
      statuses.map { end(state, $0) }
    }

  private func aftermath(
    _ source: MigrateEnd, _ destination: MigrateEnd, ranBefore: Bool = true,
    hasStopped: Bool = false, isCancelCertain: Bool = false
  ) -> MigrateAftermath {
    MigrateAftermath(
      source: source, destination: destination, ranBefore: ranBefore, hasStopped: hasStopped,
      addresses: ("A", "B"), isCancelCertain: isCancelCertain)
  }

  private func aftermath(
    notBegunAt source: MigrateEnd, _ destination: MigrateEnd = end("inmigrate", .none),
    wasStopped: Bool = false
  ) -> MigrateAftermath {
    MigrateAftermath(
      notBegunAt: source, destination: destination, wasStopped: wasStopped, ranBefore: true,
      addresses: ("A", "B"))
  }

  @Test func `no two ends are ever left or made to run`() {
    for source in Self.ends {
      for destination in Self.ends {
        for (ranBefore, hasStopped, isCertain) in [
          (true, false, true), (true, true, true), (true, false, false), (true, true, false),
          (false, false, true), (false, false, false),
        ] {
          let aftermath = aftermath(
            source, destination, ranBefore: ranBefore, hasStopped: hasStopped,
            isCancelCertain: isCertain)
          let context = Comment("\(source), \(destination), \(ranBefore): \(aftermath)")
          switch aftermath.action {
          case .resumeSource:
            #expect(!destination.isRunning && ranBefore, context)
            #expect(source.migration?.isTerminal == true, context)
            if destination == .silent { #expect(isCertain && source.migration == .cancelled) }
          case .resumeDestination:
            #expect(!source.isRunning && ranBefore, context)
            #expect(source.migration == .completed, context)
          case .stopDestination:
            #expect(source.isRunning && destination.isRunning, context)
          case .stopSource:
            #expect(source.isRunning && destination == .silent && hasStopped, context)
          case .nothing:
            // Both may run where the switchover had begun and one cannot be asked.
            let isKnown = isCertain && source.migration == .cancelled
            let isInDoubt = hasStopped && destination == .silent && !isKnown
            #expect(
              !(isInDoubt && source.isRunning && source.migration?.isPostcopy != true), context)
            // A source in postcopy does not run, whatever was made up here.
            let isPossible = source.migration.map { !$0.isPostcopy } ?? false
            #expect(!(isPossible && source.isRunning && destination.isRunning), context)
          }
          #expect(!aftermath.sentence.isEmpty, context)
        }
      }
    }
  }

  @Test func `a failed precopy leaves the machine at the source`() {
    let aftermath = aftermath(Self.end("running", .failed), Self.end("inmigrate", .failed))
    #expect(aftermath.action == .nothing)
    #expect(aftermath.sentence.contains("runs on at A"))
    #expect(aftermath.sentence.contains("used up"))
  }

  @Test func `a machine that was stopped for its copy goes on where it was`() {
    let aftermath = aftermath(Self.end("paused", .failed), .gone)
    #expect(aftermath.action == .resumeSource)
    #expect(aftermath.sentence.contains("runs on at A"))
  }

  @Test func `a machine that stood still before stays so`() {
    let aftermath = aftermath(Self.end("paused", .failed), .gone, ranBefore: false)
    #expect(aftermath.action == .nothing)
    #expect(aftermath.sentence.contains("standing still as before"))
  }

  @Test func `where the destination does not answer, nothing is started`() {
    let aftermath = aftermath(Self.end("paused", .failed), .silent)
    #expect(aftermath.action == .nothing)
    #expect(aftermath.sentence.contains("'cont' at A"))
  }

  @Test func `a source that goes on after the switchover began is stopped, if nobody else knows`() {
    let source = Self.end("running", .failed)
    let inDoubt = aftermath(source, .silent, hasStopped: true)
    #expect(inDoubt.action == .stopSource)
    #expect(inDoubt.sentence.contains("stopped at A") && inDoubt.sentence.contains("'cont' at A"))
    #expect(aftermath(source, .gone, hasStopped: true).action == .nothing)
    #expect(aftermath(source, .silent).action == .nothing)
    // One of Godwit's own that was cancelled in time knows.
    #expect(
      aftermath(
        Self.end("running", .cancelled), .silent, hasStopped: true, isCancelCertain: true
      ).action == .nothing)
  }

  @Test(arguments: [true, false])
  func `a source that still waits for the destination's word decides nothing`(ranBefore: Bool) {
    for destination in [MigrateEnd.silent, .gone, Self.end("inmigrate", .active)] {
      let aftermath = aftermath(
        Self.end("finish-migrate", .device), destination, ranBefore: ranBefore,
        isCancelCertain: true)
      #expect(aftermath.action == .nothing)
      #expect(aftermath.sentence.contains("has not ended ('device')"))
      #expect(aftermath.sentence.contains("'migrate_cancel' at A"))
      #expect(!aftermath.sentence.contains("as before"))
    }
  }

  @Test func `a machine that stood still may be at a silent destination, too`() {
    let aftermath = aftermath(Self.end("paused", .failed), .silent, ranBefore: false)
    #expect(aftermath.sentence.contains("may have it, too"))
  }

  @Test func `a cancelled copy of a stopped machine goes on where it was, whoever is silent`() {
    let aftermath = aftermath(Self.end("paused", .cancelled), .silent, isCancelCertain: true)
    #expect(aftermath.action == .resumeSource)
    #expect(aftermath.sentence.contains("runs on at A"))
  }

  @Test func `what another's move does to the source is left alone`() {
    for (state, migration) in [
      ("running", MigrationStatus.active), ("postmigrate", .completed), ("finish-migrate", .device),
    ] {
      let aftermath = aftermath(notBegunAt: Self.end(state, migration), wasStopped: true)
      #expect(aftermath.action == .nothing)
      #expect(aftermath.sentence.contains("left alone"))
    }
    // A stop of ours is not the other's.
    let stopped = aftermath(notBegunAt: Self.end("paused", .active), wasStopped: true)
    #expect(stopped.action == .resumeSource)
  }

  @Test func `an earlier move's end says nothing of one that was not begun`() {
    let stopped = aftermath(notBegunAt: Self.end("paused", .completed), wasStopped: true)
    #expect(stopped.action == .resumeSource)
    #expect(stopped.sentence.contains("runs on at A"))
    #expect(stopped.sentence.contains("can be used again"))
  }

  @Test func `a broken postcopy says how to carry on`() {
    for destination in [MigrateEnd.silent, Self.end("running", .postcopyPaused)] {
      let aftermath = aftermath(Self.end("finish-migrate", .postcopyPaused), destination)
      #expect(aftermath.isRecoverable)
      #expect(aftermath.sentence.contains("godwit migrate --from A --to B --recover"))
    }
  }

  @Test func `a destination that cannot be asked is not said to run, nor to be lost`() {
    let postcopy = aftermath(Self.end("finish-migrate", .postcopyPaused), .silent).sentence
    #expect(postcopy.contains("has gone over to B, which does not answer"))
    #expect(postcopy.contains("as soon as it can be reached"))
    let precopy = aftermath(Self.end("running", .failed), .silent).sentence
    #expect(precopy.contains("runs on at A") && precopy.contains("see that it does not run"))
  }

  @Test func `a destination that ended in postcopy is no promise of a recovery`() {
    let aftermath = aftermath(Self.end("finish-migrate", .postcopyPaused), .gone)
    #expect(!aftermath.isRecoverable)
    #expect(aftermath.sentence.contains("nothing runs now"))
  }

  @Test func `a source that ended says whether the destination has all of it`() {
    #expect(
      aftermath(.gone, Self.end("running", .completed)).sentence.contains("whole at B"))
    #expect(
      aftermath(.gone, Self.end("running", .postcopyPaused)).sentence.contains("lacked pages"))
    #expect(aftermath(.gone, Self.end("inmigrate", .failed)).sentence.contains("runs nowhere"))
  }

  @Test func `a destination that still waits can be used again`() {
    let aftermath = aftermath(Self.end("running", .failed), Self.end("inmigrate", .none))
    #expect(aftermath.sentence.contains("can be used again"))
  }
}
