// A move between two endpoints while it runs: they talk to each other, Godwit watches and steers.

import JSON
import QMP
import Synchronization
import Transport

/// A wish to stop that arrives from outside, to be acted on where that is sound.
final class MoveInterruption: Sendable {
  private let isWished = Mutex(false)

  /// Whether it was asked for.
  var isRequested: Bool { isWished.withLock { $0 } }

  /// Asks for it.
  func request() { isWished.withLock { $0 = true } }
}

/// One move, from the first setting to the last.
///
/// Both ends are connected by a pair of sockets that nobody else can reach; or, where one
/// connection is not enough, at a socket of the destination's that only its user can reach. The
/// memory goes straight from one to the other, or through an ssh where the destination is on
/// another host; should Godwit be killed, they finish by themselves.
struct RunningMigrate: Sendable {
  let source: QMPClient
  let destination: QMPClient
  /// What leads to the destination where that is on another host.
  let remote: RemoteEndpoint?
  let plan: MigratePlan
  let request: MigrateRequest
  let observer: MoveObserver
  let trace: MigrationTrace
  let interruption: MoveInterruption
  /// How long an end may take to answer once the move has failed.
  var answerLimit = Duration.seconds(2)

  /// How endpoints are waited for.
  private var patience: Patience { Patience(interruption, note: observer.note) }

  /// Runs the move to its end.
  ///
  /// Not to be cancelled: an ``interruption`` is acted on in the one way that leaves a machine.
  func run() async throws -> MigrateResult {
    let start = ContinuousClock.now
    trace.follow(source, as: .source)
    trace.follow(destination, as: .destination)
    let here = try await patience.answer(from: source.address) { [source] in
      try await MigrationSettings.read(from: source)
    }
    let there = try await patience.answer(from: destination.address) { [destination] in
      try await MigrationSettings.read(from: destination)
    }
    try await refuseSecondMove()
    let info = try await MoveSettings.whileApplied(
      there, in: destination, note: observer.note,
      capabilities: { _ in plan.destinationCapabilities },
      parameters: plan.destinationParameters, welcome: MigrateSettings.welcome
    ) {
      try await MoveSettings.whileApplied(
        here, in: source, note: observer.note, capabilities: { _ in plan.sourceCapabilities },
        parameters: plan.sourceParameters, welcome: MigrateSettings.welcome
      ) {
        do {
          return try await move()
        } catch {
          await endWait()
          let failure = await explain(error)
          // They stay changed until a recovery has ended the move, and that must know them.
          if failure.isRecoverable { await BrokenMove(here, there).remember(source, observer) }
          throw failure.error
        }
      }
    }
    return result(info, seconds: (ContinuousClock.now - start).inSeconds)
  }

  /// Another's move may have begun since the source was asked what it is: nothing of that is to be
  /// touched, its settings least of all.
  private func refuseSecondMove() async throws {
    let status = try await patience.answer(from: source.address) { [source] in
      try await source.migration().status
    }
    guard !status.isTerminal else { return }
    throw MoveError(
      .wrongState,
      "Another move of the machine at \(request.source) has just begun ('\(status.word)'): wait "
        + "for its end, or cancel it.")
  }

  private func move() async throws -> MigrationInfo {
    try await begin()
    let info = try await watch(switchesOver: plan.postcopy == .firstPass)
    try await arrive()
    return info
  }

  private func begin() async throws {
    let address: String
    do {
      address = try await patience.answer(from: destination.address) { try await prepare() }
      // As late as can be: the machine stands still from here on.
      if plan.pausesFirst { try await ask { try await $0.stop() } }
    } catch {
      throw NotBegun(cause: error)
    }
    do {
      try await ask { try await $0.migrate(to: address) }
    } catch let error as QMPError {
      guard case .refused = error else { throw error }
      // As long as the source holds its end, the destination waits at the other one.
      _ = try? await source.execute(
        "closefd", ["fdname": .string(DescriptorHandover.name)], timeout: .seconds(2))
      throw NotBegun(cause: error)
    }
    if plan.postcopy == .now { try await ask { try await $0.migrateStartPostcopy() } }
  }

  /// Has the source do or say something, however long that takes.
  func ask<Value: Sendable>(
    mindsInterruption minds: Bool = true,
    _ body: @escaping @Sendable (QMPClient) async throws -> Value
  ) async throws -> Value {
    try await patience.answer(from: source.address, mindsInterruption: minds) { [source] in
      try await body(source)
    }
  }

  /// All that comes before the source is told where to.
  private func prepare() async throws -> String {
    // A postcopy runs whatever arrives, what stood still too; but for an order not to.
    if plan.postcopy != nil && !plan.runsOnArrival { try await destination.stop() }
    return try await makeReady()
  }

  /// Has the destination wait for the machine, and says where the source is to send it.
  private func makeReady() async throws -> String {
    if let place = plan.meetingPlace {
      try await destination.migrateIncoming(from: "\(place)", exitsOnError: false)
      return "\(place)"
    }
    if let remote {
      try await destination.migrateIncoming(from: "\(remote.meetingPlace)", exitsOnError: false)
      try await remote.memoryConnection(destination).give(to: source)
      return DescriptorHandover.uri
    }
    var pair = try SocketPair()
    let ends = (DescriptorHandover(pair.take()), DescriptorHandover(pair.take()))
    try await ends.0.give(to: destination)
    try await destination.migrateIncoming(from: DescriptorHandover.uri, exitsOnError: false)
    try await ends.1.give(to: source)
    return DescriptorHandover.uri
  }

  /// Has a destination wait no more for a source that will not come.
  private func endWait() async {
    let (place, remote) = (plan.meetingPlace, remote)
    guard place != nil || remote != nil,
      let answer = try? await destination.execute("query-migrate", timeout: .seconds(2)),
      MigrationInfo(answer).status == .setup
    else { return }
    // A connection that ends at once ends the wait, as the end of a pair of sockets does.
    _ = try? await EngineThread.run("godwit-connect", cancel: {}) {
      guard let address = try place ?? remote?.wayToMeetingPlace() else { return }
      _ = try ByteChannel.connect(to: address, timeout: .seconds(1))
    }
  }

  /// Follows the source's migration to its end; throws what it says when it fails.
  func watch(switchesOver: Bool) async throws -> MigrationInfo {
    var meter = try await meter()
    var mustSwitch = switchesOver
    var isHeard = false
    while true {
      let info = try await ask(mindsInterruption: !isHeard) { try await $0.migration() }
      let reading = meter.read(info, at: trace.seconds)
      trace.add(reading.sample)
      observer.progress(reading.progress)
      if let note = reading.note { observer.note(note) }
      if interruption.isRequested && !isHeard {
        isHeard = true
        try await interrupt(info.status)
      }
      switch info.status {
      case .completed: return info
      case .cancelled: throw CancellationError()
      case .failed, .postcopyPaused: throw MigrateFailure(status: info.status, info: info)
      case .active where mustSwitch && (info.ram?.dirtySyncCount ?? 0) >= 2:
        mustSwitch = false
        try await ask(mindsInterruption: !isHeard) { try await $0.migrateStartPostcopy() }
      default: break
      }
      try await Task.sleep(for: Self.interval(info.status, isPaused: plan.pausesFirst))
    }
  }

  /// How long to wait before the next look: less while the machine stands still.
  private static func interval(_ status: MigrationStatus, isPaused: Bool) -> Duration {
    status == .active && !isPaused ? .milliseconds(50) : .milliseconds(10)
  }

  private func meter() async throws -> MigrateMeter {
    let parameters = try await ask { try await $0.migrationParameters() }
    let limit = parameters.first { $0.name == "downtime-limit" }?.value.double
    let isLive = plan.runsOnArrival && !plan.pausesFirst && plan.postcopy == nil
    return MigrateMeter(
      downtimeLimitSeconds: isLive ? (limit ?? 300) / 1000 : nil,
      limitBytesPerSecond: request.bytesPerSecond)
  }

  /// Cancels where the machine is still the source's; says why not where it is not.
  private func interrupt(_ status: MigrationStatus) async throws {
    guard !status.isPostcopy else {
      return observer.note(
        "The machine runs at \(request.destination) already, so the move cannot be cancelled: it "
          + "goes on until all memory is there. A second Ctrl-C ends Godwit; the two endpoints "
          + "finish without it.")
    }
    guard !status.isTerminal else { return }
    try await ask { try await $0.migrateCancel() }
  }

  /// Waits until the destination, too, is done, and sees the machine run if it ran before.
  private func arrive() async throws {
    try await waitForDestination()
    guard plan.runsOnArrival else { return }
    // Stopped for its copy, or told by -S not to run: it ran before, so it runs now.
    try await patience.answer(from: destination.address) { [destination] in
      if try await !destination.runState().isRunning { try await destination.resume() }
    }
    // The event may be a moment behind the state.
    let end = ContinuousClock.now + .seconds(5)
    while !trace.hasResumed, ContinuousClock.now < end {
      try await Task.sleep(for: .milliseconds(1))
    }
  }

  /// Waits until the destination says that it has everything.
  func waitForDestination() async throws {
    let end = ContinuousClock.now + .seconds(30)
    while true {
      let info = try await patience.answer(from: destination.address) { [destination] in
        try await destination.migration()
      }
      switch info.status {
      case .completed: return
      case .failed: throw MigrateFailure(status: .failed, info: info)
      default:
        guard ContinuousClock.now < end else {
          throw MoveError(
            .failed,
            "The destination at \(request.destination) was sent everything and is "
              + "'\(info.status.word)' after half a minute.")
        }
        try await Task.sleep(for: .milliseconds(2))
      }
    }
  }

  /// What the source's last figures say.
  ///
  /// A recovery knows nothing of how long the machine stood still while its link was broken.
  func result(
    _ info: MigrationInfo, seconds: Double, isRecovery: Bool = false
  ) -> MigrateResult {
    let ram = info.ram
    let reported = info.downtimeMilliseconds.map(Double.init)
    let wentOver = trace.course.samples.contains { MigrationStatus($0.status).isPostcopy }
    var phases: MigrateResult.PhaseBytes?
    if let precopy = ram?.precopyByteCount {
      phases = .init(
        precopy: precopy, downtime: ram?.downtimeByteCount ?? 0,
        postcopy: ram?.postcopyByteCount ?? 0)
    }
    let usedPostcopy = wentOver || isRecovery || (phases?.postcopy ?? 0) > 0
    return MigrateResult(
      status: info.status.word,
      mode: usedPostcopy ? .postcopy : plan.pausesFirst ? .paused : .precopy,
      isRunning: plan.runsOnArrival,
      downtimeMilliseconds: plan.runsOnArrival && !isRecovery
        ? trace.downtimeMilliseconds ?? reported : nil,
      reportedDowntimeMilliseconds: reported, rounds: ram?.dirtySyncCount ?? 0,
      wireBytes: ram?.transferredByteCount ?? 0, ramBytes: ram?.totalByteCount ?? 0,
      pagesZero: ram?.zeroPageCount ?? 0, pagesNormal: ram?.normalPageCount ?? 0,
      pagesKnown: info.knownPageCount, pagesExcluded: ram?.excludedPageCount,
      pageRequests: ram?.postcopyRequestCount ?? 0, phaseBytes: phases, seconds: seconds)
  }
}

/// A migration that ended otherwise than it should, in the words of one end.
struct MigrateFailure: Error, CustomStringConvertible {
  var status: MigrationStatus
  var info: MigrationInfo

  var description: String {
    let words = info.errorDescription.map { ": \(Self.withoutStop($0))" } ?? ""
    switch status {
    case .postcopyPaused: return "The link between the two endpoints broke\(words)."
    default: return "The move failed\(words.isEmpty ? "; the source does not say why" : words)."
    }
  }

  /// Words that go on with a full stop of ours.
  static func withoutStop(_ words: String) -> String {
    words.hasSuffix(".") ? String(words.dropLast()) : words
  }
}
