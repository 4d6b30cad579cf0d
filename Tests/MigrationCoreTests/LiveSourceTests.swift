// The source of a running machine, step by step, with times and rates that a test makes up.

import MigrationCore
import Testing
import Wire

@Suite struct LiveSourceTests {
  private static let advice = PostcopyAdvice(pageSizeSummary: 4096, targetPageSize: 4096)

  /// A source that is in its first round, `remaining` bytes being left.
  private func copying(
    _ settings: LiveSettings = LiveSettings(), advice: PostcopyAdvice? = nil,
    remaining: UInt64 = 100 << 20
  ) -> LiveSource {
    var source = LiveSource(settings: settings, usesReturnPath: true, advice: advice)
    _ = source.next(at: .zero)
    #expect(source.next(at: .zero) == .track)
    source.tracked(remaining: remaining)
    return source
  }

  @Test func `what is left is sent, read again and sent, until it fits the downtime`() throws {
    var source = copying()
    #expect(source.next(at: .zero) == .send)
    // 100 MiB/s: in the 300 ms there may be, half of them aimed at, go some 14 MiB.
    source.sent(80 << 20, in: .milliseconds(800), remaining: 20 << 20)
    #expect(source.next(at: .milliseconds(800)) == .send)
    source.sent(10 << 20, in: .milliseconds(100), remaining: 10 << 20)
    #expect(source.next(at: .milliseconds(900)) == .sync)
    source.synced(30 << 20, remaining: 40 << 20, at: .milliseconds(901))
    #expect(source.next(at: .milliseconds(901)) == .send)
    source.sent(30 << 20, in: .milliseconds(300), remaining: 10 << 20)
    #expect(source.next(at: .milliseconds(1201)) == .sync)
    source.synced(2 << 20, remaining: 12 << 20, at: .milliseconds(1202))
    #expect(source.next(at: .milliseconds(1202)) == .pause)
    source.paused(at: .milliseconds(1203))
    #expect(source.next(at: .milliseconds(1203)) == .sync)
    source.synced(0, remaining: 12 << 20, at: .milliseconds(1204))
    #expect(source.destinationRunState == .notStarted)
    #expect(source.next(at: .milliseconds(1204)) == .send)
    source.sent(12 << 20, in: .milliseconds(120), remaining: 0)
    #expect(
      source.next(at: .milliseconds(1324))
        == .write([.ramEnd, .deviceState, .endOfStream, .description]))
    #expect(source.destinationRunState == .unknown)
    #expect(source.next(at: .milliseconds(1325)) == .wait)
    try source.receive(.shut(status: 0))
    #expect(source.next(at: .milliseconds(1326)) == .finish)
    #expect(source.destinationRunState == .running)
    #expect(source.syncCount == 4)
  }

  @Test func `a downtime of nothing is one in which nothing is left to send`() {
    var source = copying(LiveSettings(downtimeLimit: .zero))
    source.sent(100 << 20, in: .seconds(1), remaining: 0)
    #expect(source.next(at: .seconds(1)) == .sync)
    source.synced(4096, remaining: 4096, at: .seconds(1))
    #expect(source.next(at: .seconds(1)) == .send)
    source.sent(4096, in: .microseconds(40), remaining: 0)
    // The log is not read over and over for one page.
    #expect(source.next(at: .seconds(1)) == .rest(until: .milliseconds(1010)))
    #expect(source.next(at: .milliseconds(1010)) == .sync)
    source.synced(0, remaining: 0, at: .milliseconds(1010))
    #expect(source.next(at: .milliseconds(1010)) == .pause)
  }

  @Test func `a destination that fails while its misses are awaited ends the move`() throws {
    var source = copying(LiveSettings(downtimeLimit: .zero))
    source.sent(100 << 20, in: .seconds(1), remaining: 0)
    _ = source.next(at: .seconds(1))
    source.synced(0, remaining: 0, at: .seconds(1))
    #expect(source.next(at: .seconds(1)) == .pause)
    try source.receive(.shut(status: 1))
    let stopsNow = source.settledMisses(remaining: 0)
    #expect(!stopsNow)
    #expect(source.next(at: .seconds(1)) == .finish)
    #expect(source.destinationRunState == .notStarted)
  }

  @Test func `all of the limit is used once rounds no longer get smaller`() {
    var source = copying()
    source.sent(100 << 20, in: .seconds(1), remaining: 0)
    for time in [1000, 1300] {
      #expect(source.next(at: .milliseconds(time)) == .sync)
      source.synced(25 << 20, remaining: 25 << 20, at: .milliseconds(time))
      guard time == 1000 else { break }
      #expect(source.next(at: .milliseconds(time)) == .send)
      source.sent(25 << 20, in: .milliseconds(250), remaining: 0)
    }
    #expect(source.next(at: .milliseconds(1300)) == .pause)
  }

  @Test func `memory follows the machine from any moment on until its state is on its way`()
    throws
  {
    var early = LiveSource(
      settings: LiveSettings(), usesReturnPath: true, advice: Self.advice)
    let willFollow = early.startPostcopy()
    #expect(willFollow)
    _ = early.next(at: .zero)
    #expect(early.next(at: .zero) == .pause)
    early.paused(at: .zero)
    #expect(early.next(at: .zero) == .switchToPostcopy)
    #expect(early.syncCount == 0, "nothing was sent, and everything is missing")

    var late = copying(advice: Self.advice)
    late.sent(20 << 20, in: .milliseconds(10), remaining: 80 << 20)
    let followsLate = late.startPostcopy()
    #expect(followsLate)
    #expect(late.next(at: .zero) == .write([.ping(0x100)]))
    #expect(late.next(at: .zero) == .wait, "it runs until what was sent has been taken")
    #expect(!late.isStopped)
    try late.receive(.pong(1))
    #expect(late.next(at: .zero) == .wait, "that was the answer to another question")
    try late.receive(.pong(0x100))
    #expect(late.next(at: .zero) == .pause)
    late.paused(at: .zero)
    #expect(late.next(at: .zero) == .sync)
    late.synced(0, remaining: 50 << 20, at: .zero)
    #expect(late.next(at: .zero) == .switchToPostcopy)

    var soon = copying(advice: Self.advice)
    soon.sent(10 << 20, in: .milliseconds(10), remaining: 90 << 20)
    let followsSoon = soon.startPostcopy()
    #expect(followsSoon)
    _ = soon.next(at: .zero)
    try soon.receive(.pong(0x100))
    #expect(soon.next(at: .zero) == .pause)
    soon.paused(at: .zero)
    #expect(soon.next(at: .zero) == .switchToPostcopy, "so little goes again")
    #expect(soon.sendsAllAgain)

    var never = copying()
    let followsUnannounced = never.startPostcopy()
    #expect(!followsUnannounced, "no postcopy was announced")
    #expect(never.next(at: .zero) == .send)
  }

  @Test func `a machine that is held waits for the word, whoever gives it once`() {
    var source = copying(LiveSettings(pausesBeforeSwitchover: true), remaining: 0)
    let waitedBefore = source.proceed()
    #expect(!waitedBefore)
    #expect(source.next(at: .milliseconds(10)) == .sync)
    source.synced(0, remaining: 0, at: .milliseconds(10))
    #expect(source.next(at: .milliseconds(10)) == .pause)
    source.paused(at: .milliseconds(11))
    #expect(source.next(at: .milliseconds(11)) == .wait)
    let waited = source.proceed()
    #expect(waited)
    let waitedTwice = source.proceed()
    #expect(!waitedTwice)
    #expect(source.next(at: .milliseconds(12)) == .sync)
  }

  @Test func `a destination that fails ends it, and one that asks for pages too early is told`()
    throws
  {
    var source = copying()
    #expect(throws: ProtocolViolation.self) { try source.receive(.shut(status: 0)) }
    #expect(throws: ProtocolViolation.self) {
      try source.receive(.requestPages(block: "pc.ram", start: 0, length: 4096))
    }
    try source.receive(.shut(status: 1))
    #expect(source.next(at: .zero) == .finish)
    #expect(source.destinationRunState == .notStarted)
    // What was under way when it came changes nothing.
    source.tracked(remaining: 1)
    source.synced(1, remaining: 1, at: .zero)
    #expect(source.phase == .finished(.destinationFailed(code: 1)))
  }

  @Test func `a machine that writes too fast is slowed down in steps, and let go for the end`() {
    let policy = ThrottlingPolicy.autoConverge(
      trigger: 50, initial: 20, increment: 10, maximum: 35, tailslow: false)
    var source = copying(LiveSettings(throttling: policy))
    var seen: [Throttle?] = []
    for second in 1...8 {
      source.sent(100 << 20, in: .seconds(1), remaining: 0)
      while true {
        let step = source.next(at: .seconds(second))
        guard case .throttle(let throttle) = step else {
          #expect(step == .sync)
          break
        }
        seen.append(throttle)
      }
      source.synced(200 << 20, remaining: 200 << 20, at: .seconds(second))
    }
    #expect(seen == [.rest(percent: 20), .rest(percent: 30), .rest(percent: 35)])
    #expect(
      source.convergence.prediction
        == .neverEnds(
          writtenBytesPerSecond: Double(200 << 20), sentBytesPerSecond: Double(100 << 20)))
    source.change(LiveSettings(downtimeLimit: .seconds(5), throttling: policy))
    source.sent(100 << 20, in: .seconds(1), remaining: 0)
    #expect(source.next(at: .seconds(9)) == .sync)
    source.synced(0, remaining: 0, at: .seconds(9))
    #expect(source.next(at: .seconds(9)) == .throttle(nil))
    #expect(source.next(at: .seconds(9)) == .pause)
  }

  @Test func `what is likely to come is told with how far off it may be`() throws {
    var source = copying(remaining: 1000 << 20)
    #expect(source.convergence.prediction == nil, "nothing was measured")
    source.sent(100 << 20, in: .seconds(1), remaining: 900 << 20)
    guard case .ends(let time, let give) = try #require(source.convergence.prediction) else {
      Issue.record("it ends, nothing being written")
      return
    }
    #expect(time > .milliseconds(8500) && time < .milliseconds(8800))
    #expect(give > .zero)
    #expect(source.convergence.expectedDowntime == .seconds(9) + .milliseconds(4))
  }

  @Test func `the pages that are missing at a switch are those that a scheduler hands out`() {
    var missing = PageBitmap(pageCount: 300_000)
    for page in [0, 5, 299_999] { missing.insert(page) }
    let there = PageBitmap(complementOf: missing)
    #expect(there.memberCount == 299_997)
    #expect(there.firstNonMember(in: 1..<300_000) == 5)
    #expect(PageBitmap(complementOf: there) == missing)
    var scheduler = PageScheduler(
      blocks: [ScheduledBlock(usedLength: 300_000 * 4096, pageSize: 4096)], missing: [missing])
    #expect(scheduler.remainingCount == 3)
    #expect(scheduler.remainingByteCount == 3 * 4096)
    var offsets: [UInt64] = []
    while let page = scheduler.next() { offsets.append(page.address.offset / 4096) }
    #expect(offsets == [0, 5, 299_999])
  }
}
