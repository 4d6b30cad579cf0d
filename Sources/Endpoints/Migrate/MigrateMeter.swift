// From the source's figures to what a person watches: rates, the round, the time left.

import QMP

/// Turns answers to `query-migrate` into samples, progress and forecasts.
struct MigrateMeter {
  private let pageBytes: UInt64
  private let downtimeLimitSeconds: Double?
  private let limitBytesPerSecond: UInt64?
  private var recent: [(seconds: Double, wire: UInt64, pages: UInt64)] = []
  private var round: UInt64 = 0
  private var passBytes: UInt64 = 0
  private var previousPassBytes: UInt64?
  private var hopelessSince: Double?
  private var lastNote: Double?
  private var hasToldOfExcess = false
  /// Whether the machine has begun to run at the destination.
  private var hasGone = false
  private var moved: (seconds: Double, wire: UInt64, remaining: UInt64)?
  private var lastStallNote: Double?

  /// How long a forecast must say the same before the person is told.
  private static let patience = 2.0
  /// How long it is then before they are told again.
  private static let silence = 30.0
  /// What is too slow to matter to a person who set a limit, in bytes a second.
  private static let finestRate = 65536.0
  /// How far back the rates reach, in seconds.
  private static let window = 0.5
  /// What a rate must rest on before an end is told from it: the first bytes are of no page yet.
  private static let shortestWindow = 0.2
  /// How long nothing may move before the person is told: a destination that says first what it
  /// holds may take five seconds.
  private static let stall = 6.0

  /// A meter for one move.
  /// - Parameters:
  ///   - downtimeLimitSeconds: how long the guest may stand still; nil where it does so anyway.
  ///   - limitBytesPerSecond: the rate allowed; nil for any.
  init(downtimeLimitSeconds: Double?, limitBytesPerSecond: UInt64?, pageBytes: UInt64 = 4096) {
    self.downtimeLimitSeconds = downtimeLimitSeconds
    self.limitBytesPerSecond = limitBytesPerSecond
    self.pageBytes = pageBytes
  }

  /// What an answer means, `seconds` after the beginning.
  mutating func read(
    _ info: MigrationInfo, at seconds: Double
  ) -> (sample: MigrationCourse.Sample, progress: MoveProgress, note: String?) {
    let ram = info.ram
    let page = UInt64(ram?.pageByteCount ?? pageBytes)
    let wire = ram?.transferredByteCount ?? 0
    let pages = (ram?.zeroPageCount ?? 0) + (ram?.normalPageCount ?? 0)
    let remaining = ram?.remainingByteCount ?? 0
    let (wireRate, pageRate) = rates(wire: wire, pages: pages, at: seconds)
    let syncs = ram?.dirtySyncCount ?? 0
    follow(round: syncs, remaining: remaining)
    let isLive = info.status == .active && downtimeLimitSeconds != nil
    // The first rate that the source knows comes with the second round.
    let dirty =
      isLive && syncs >= 2 ? ram?.dirtyPagesPerSecond.map { Double($0) * Double(page) } : nil
    let sample = MigrationCourse.Sample(
      seconds: seconds, status: info.status.word, round: syncs, wireBytes: wire,
      remainingBytes: remaining, bytesPerSecond: wireRate, dirtyBytesPerSecond: dirty,
      zeroPages: ram?.zeroPageCount ?? 0, normalPages: ram?.normalPageCount ?? 0,
      pageRequests: ram?.postcopyRequestCount ?? 0,
      expectedDowntimeMilliseconds: syncs >= 2
        ? info.expectedDowntimeMilliseconds.map(Double.init) : nil,
      throttlePercentage: info.throttlePercentage ?? 0)
    if info.status.isPostcopy { hasGone = true }
    let isMeasured = recent.first.map { seconds - $0.seconds >= Self.shortestWindow } ?? false
    let forecast = MigrationForecast(
      MigrationPace(
        remainingBytes: remaining,
        bytesPerSecond: isMeasured ? max(wireRate, pageRate * Double(page)) : 0,
        dirtyBytesPerSecond: dirty, passBytes: passBytes, previousPassBytes: previousPassBytes,
        downtimeLimitSeconds: isLive ? downtimeLimitSeconds : nil,
        limitBytesPerSecond: limitBytesPerSecond))
    let progress = progress(sample, ram, page, forecast, info.status)
    let excess = info.status == .active ? excessNote(wireRate, at: seconds) : nil
    let stall = stallNote(info.status, wire: wire, remaining: remaining, at: seconds)
    return (sample, progress, stall ?? excess ?? note(forecast, at: seconds))
  }

  /// A sentence where nothing moves, though something should.
  private mutating func stallNote(
    _ status: MigrationStatus, wire: UInt64, remaining: UInt64, at seconds: Double
  ) -> String? {
    let isUnderWay = [.setup, .active, .device, .postcopyActive].contains(status)
    if let moved, isUnderWay, moved.wire == wire, moved.remaining == remaining {
      // A low limit lets a page go now and then only.
      let pause = limitBytesPerSecond.map { 2 * Self.finestRate / Double(max($0, 1)) } ?? 0
      let since = seconds - moved.seconds
      guard since >= max(Self.stall, pause) else { return nil }
      if let lastStallNote, seconds - lastStallNote < Self.silence { return nil }
      lastStallNote = seconds
      let time = "for \(Int(since)) s"
      return status == .device && remaining == 0
        ? "All of the machine was sent, and \(time) the destination has not confirmed that."
        : "Nothing has moved \(time), with \(ByteCount.text(remaining)) left to send: the "
          + "destination takes nothing."
    }
    moved = (seconds, wire, remaining)
    lastStallNote = nil
    return nil
  }

  /// Keeps how much there was to send at the beginning of this pass and of the one before.
  private mutating func follow(round now: UInt64, remaining: UInt64) {
    if now == round {
      // The gathering may have been under way at the first look.
      passBytes = max(passBytes, remaining)
      return
    }
    // The first pass has all of memory, whatever the guest writes.
    previousPassBytes = round >= 2 ? passBytes : nil
    passBytes = remaining
    round = now
  }

  private func progress(
    _ sample: MigrationCourse.Sample, _ ram: MigrationRAMStatistics?, _ page: UInt64,
    _ forecast: MigrationForecast, _ status: MigrationStatus
  ) -> MoveProgress {
    let total = ram?.totalByteCount
    var progress = MoveProgress(
      phase: phase(status),
      bytesDone: total.map { $0 - min($0, sample.remainingBytes) } ?? 0, bytesTotal: total,
      bytesPerSecond: sample.bytesPerSecond, dirtyPages: sample.remainingBytes / max(page, 1),
      zeroPages: sample.zeroPages, pageRequests: sample.pageRequests,
      secondsLeft: forecast.seconds)
    progress.normalPages = sample.normalPages
    progress.excludedPages = ram?.excludedPageCount
    progress.round = sample.round
    progress.dirtyBytesPerSecond = sample.dirtyBytesPerSecond
    if case .never = forecast { progress.converges = false }
    return progress
  }

  private func phase(_ status: MigrationStatus) -> MoveProgress.Phase {
    switch status {
    case .none, .setup, .waitUnplug: .preparing
    // Its end is no way back.
    case _ where hasGone: .running
    default: .memory
    }
  }

  /// Bytes and pages a second over the last half second or so.
  private mutating func rates(
    wire: UInt64, pages: UInt64, at seconds: Double
  ) -> (wire: Double, pages: Double) {
    recent.append((seconds, wire, pages))
    while recent.count > 2, recent[1].seconds <= seconds - Self.window { recent.removeFirst() }
    guard let first = recent.first, seconds > first.seconds, wire >= first.wire,
      pages >= first.pages
    else { return (0, 0) }
    let span = seconds - first.seconds
    return (Double(wire - first.wire) / span, Double(pages - first.pages) / span)
  }

  /// A sentence, once, where the source goes faster than it was told.
  private mutating func excessNote(_ rate: Double, at seconds: Double) -> String? {
    guard let limit = limitBytesPerSecond, !hasToldOfExcess, rate > 1.5 * Double(limit),
      rate > Self.finestRate,
      let first = recent.first, seconds - first.seconds >= Self.window, seconds >= Self.patience
    else { return nil }
    hasToldOfExcess = true
    return "The source sends \(ByteCount.text(UInt64(min(rate, 1e18)))) a second, though it was "
      + "told to keep to \(ByteCount.text(limit)): it does not measure finer."
  }

  /// The sentence of a hopeless forecast, once it has stood for a while and not too often.
  private mutating func note(_ forecast: MigrationForecast, at seconds: Double) -> String? {
    guard case .never(let sentence) = forecast else {
      hopelessSince = nil
      return nil
    }
    let since = hopelessSince ?? seconds
    hopelessSince = since
    guard seconds - since >= Self.patience else { return nil }
    if let lastNote, seconds - lastNote < Self.silence { return nil }
    lastNote = seconds
    return sentence
  }
}
