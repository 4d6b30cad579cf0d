// A move between endpoints that stand still, refuse, or end: what the person is told and can do.

import Foundation
import JSON
import QMP
import Synchronization
import Testing

@testable import Endpoints

@Suite struct RunningMigrateTests {
  /// What both ends answer whatever happens.
  private static func common(_ command: String) -> ScriptedEndpoint.Answer {
    switch command {
    case "query-migrate-capabilities":
      .returned(
        .array(
          MigratePlanTests.capabilities.keys.sorted().map {
            ["capability": .string($0), "state": false]
          }))
    case "query-migrate-parameters":
      .returned([
        "max-bandwidth": 0, "max-postcopy-bandwidth": 0, "downtime-limit": 300, "tls-creds": "",
      ])
    case "query-qmp-schema": .returned([])
    default: .returned([:])
    }
  }

  private static func state(_ status: String) -> ScriptedEndpoint.Answer {
    .returned(["status": .string(status), "running": .bool(status == "running")])
  }

  private static func migration(_ status: String, _ words: String? = nil) -> ScriptedEndpoint.Answer
  {
    var members = [JSONMember("status", .string(status))]
    if let words { members.append(JSONMember("error-desc", .string(words))) }
    return .returned(.object(members))
  }

  /// For who answers: other tests may hold the processors meanwhile.
  private static let busyHost = Duration.seconds(300)

  /// A destination that waits, and goes on waiting.
  private static func waiting() throws -> ScriptedEndpoint {
    try ScriptedEndpoint { $0 == "query-status" ? state("inmigrate") : common($0) }
  }

  private static func move(
    from source: ScriptedEndpoint, to destination: ScriptedEndpoint,
    _ interruption: MoveInterruption = MoveInterruption(), isPaused: Bool = false,
    answerLimit: Duration = .seconds(2)
  ) async throws -> MoveError {
    let request = MigrateRequest(
      source: source.path, destination: .local(destination.path), isPaused: isPaused)
    let running = RunningMigrate(
      source: try await QMPClient.connect(to: source.path),
      destination: try await QMPClient.connect(to: destination.path), remote: nil,
      plan: try MigratePlan(
        for: request, from: MigratePlanTests.source, to: MigratePlanTests.destination),
      request: request, observer: MoveObserver(), trace: MigrationTrace(),
      interruption: interruption, answerLimit: answerLimit)
    return try await #require(throws: MoveError.self) { _ = try await running.run() }
  }

  private static func recovery(
    from source: ScriptedEndpoint, to destination: ScriptedEndpoint, keeper: [String]? = nil
  ) async throws -> MoveError {
    try await #require(throws: MoveError.self) {
      _ = try await Operations.migrate(
        MigrateRequest(
          source: source.path, destination: .local(destination.path), recovers: true,
          keeperCommand: keeper))
    }
  }

  // MARK: - Silence

  @Test(.timeLimit(.minutes(10)))
  func `Ctrl-C ends the wait for a source that has stopped answering`() async throws {
    let isSent = Flag()
    let interruption = MoveInterruption()
    let source = try ScriptedEndpoint { command in
      if command == "migrate" { isSent.set(true) }
      guard isSent.isSet, command != "migrate" else {
        return command == "query-status" ? Self.state("running") : Self.common(command)
      }
      // Only now: what others answer takes its time on a busy host.
      interruption.request()
      return .silence
    }
    let error = try await Self.move(from: source, to: try Self.waiting(), interruption)
    #expect(error.code == .cancelled)
    #expect(error.description.contains("at \(source.path) did not answer"), "\(error)")
    #expect(error.description.contains("look after \(source.path)"), "\(error)")
    #expect(!error.description.contains("was cancelled."), "\(error)")
  }

  @Test(.timeLimit(.minutes(10)))
  func `an end that never says what it is is waited for until Ctrl-C`() async throws {
    let source = try ScriptedEndpoint { _ in .silence }
    let destination = try Self.waiting()
    let move = Task {
      try await Operations.migrate(
        MigrateRequest(source: source.path, destination: .local(destination.path)))
    }
    try await Task.sleep(for: .milliseconds(200))
    move.cancel()
    let error = try await #require(throws: MoveError.self) { _ = try await move.value }
    #expect(error.code == .cancelled)
    #expect(error.description.contains("at \(source.path) does not answer"), "\(error)")
  }

  @Test func `a silence is told of while it lasts, and is no failure`() async throws {
    let notes = Mutex<[String]>([])
    var patience = Patience(MoveInterruption()) { note in notes.withLock { $0.append(note) } }
    patience.untilNote = .milliseconds(100)
    patience.betweenNotes = .milliseconds(200)
    let answer = try await patience.answer(from: "a.sock") {
      // As long as it takes on a busy host.
      let end = ContinuousClock.now + .seconds(20)
      while notes.withLock({ $0.count }) < 2, ContinuousClock.now < end {
        try await Task.sleep(for: .milliseconds(20))
      }
      return 7
    }
    #expect(answer == 7)
    let told = notes.withLock { $0 }
    #expect(told.count >= 2, "\(told)")
    #expect(told.allSatisfy { $0.contains("a.sock has not answered for") })
  }

  // MARK: - Moves of others

  @Test(.timeLimit(.minutes(10)), arguments: [false, true])
  func `a move that is refused leaves another's alone`(isPaused: Bool) async throws {
    let isRefused = Flag()
    let isStopped = Flag()
    let source = try ScriptedEndpoint { command in
      switch command {
      case "migrate":
        isRefused.set(true)
        return .refused("There's a migration process in progress")
      case "query-migrate" where isRefused.isSet:
        return Self.migration("active")
      case "stop", "cont":
        isStopped.set(command == "stop")
        return .returned([:])
      case "query-status":
        return Self.state(isStopped.isSet ? "paused" : "running")
      default: return Self.common(command)
      }
    }
    let error = try await Self.move(
      from: source, to: try Self.waiting(), isPaused: isPaused, answerLimit: Self.busyHost)
    #expect(!source.commands.contains("migrate_cancel"))
    #expect(error.description.contains("in progress. Another move"), "\(error)")
    #expect(!isStopped.isSet, "what was stopped for the move stands still")
    #expect(source.commands.contains("cont") == isPaused)
  }

  @Test(.timeLimit(.minutes(10)))
  func `a source that has begun another move keeps its settings`() async throws {
    let source = try ScriptedEndpoint { command in
      command == "query-migrate" ? Self.migration("active") : Self.common(command)
    }
    let error = try await Self.move(from: source, to: try Self.waiting())
    #expect(error.code == .wrongState)
    #expect(!source.commands.contains { $0.hasPrefix("migrate") }, "\(source.commands)")
  }

  // MARK: - Postcopy that broke

  /// A source whose postcopy has broken, in its own words.
  private static func broken() throws -> ScriptedEndpoint {
    let isSent = Flag()
    return try ScriptedEndpoint { command in
      switch command {
      case "migrate":
        isSent.set(true)
        return .returned([:])
      case "query-migrate" where isSent.isSet:
        return migration("postcopy-paused", "Nothing is lost, and a recovery carries on.")
      case "query-status": return state("finish-migrate")
      default: return common(command)
      }
    }
  }

  @Test(.timeLimit(.minutes(10)))
  func `no recovery is advised once the destination has ended`() async throws {
    let isWaiting = Flag()
    let destination = try ScriptedEndpoint { command in
      if command == "migrate-incoming" { isWaiting.set(true) }
      let hasEnded = isWaiting.isSet && command != "migrate-incoming"
      return hasEnded ? .end : Self.common(command)
    }
    let error = try await Self.move(
      from: try Self.broken(), to: destination, answerLimit: Self.busyHost)
    #expect(error.description.contains("nothing runs now"), "\(error)")
    #expect(!error.description.contains("recovery"), "\(error)")
  }

  @Test(.timeLimit(.minutes(10)))
  func `a recovery that fails before it begins leaves a keeper behind again`() async throws {
    let source = try ScriptedEndpoint { command in
      switch command {
      case "query-migrate": Self.migration("postcopy-paused")
      case "query-status": Self.state("finish-migrate")
      default: Self.common(command)
      }
    }
    // It says that it listens, and does not.
    let destination = try ScriptedEndpoint { command in
      switch command {
      case "query-migrate": Self.migration("postcopy-paused")
      case "query-status": Self.state("running")
      default: Self.common(command)
      }
    }
    let own = try #require(ProcessIdentity(of: ProcessInfo.processInfo.processIdentifier))
    let place = MonitorKeeper.socketPath(for: own)
    defer { try? FileManager.default.removeItem(atPath: place) }
    let keeper = ["/bin/sh", "-c", "echo kept > \"$0\""]
    _ = try? await Operations.migrate(
      MigrateRequest(
        source: source.path, destination: .local(destination.path), recovers: true,
        keeperCommand: keeper))
    #expect(FileManager.default.fileExists(atPath: place))
  }

  @Test(.timeLimit(.minutes(10)))
  func `a recovery with its ends swapped says so and touches neither`() async throws {
    let arrived = try ScriptedEndpoint { command in
      switch command {
      case "query-migrate": Self.migration("postcopy-paused")
      case "query-status": Self.state("running")
      default: Self.common(command)
      }
    }
    let other = try Self.broken()
    let error = try await Self.recovery(from: arrived, to: other)
    #expect(error.code == .wrongState)
    #expect(error.description.contains("Give it as --to"), "\(error)")
    #expect(other.commands.isEmpty)
    #expect(!arrived.commands.contains("migrate-pause"))
  }
}

/// Something that has happened or not, told between a script and a test.
private final class Flag: Sendable {
  private let state = Mutex(false)

  var isSet: Bool { state.withLock { $0 } }

  func set(_ value: Bool) { state.withLock { $0 = value } }
}
