// The source of a machine that runs while its memory goes.
//
//   opening ─▶ tracking ─▶ copying ⇄ syncing
//      │                      │         │ what is left fits the downtime
//      └──────────────────────┴────▶ stopping ─▶ [held] ─▶ last sync ─▶ finishing ⇄ confirming
//          postcopy was asked for,                             │           │       pages
//          and the destination has caught up                   ▼           ▼
//                                              switching to postcopy     closing ─▶ finished
//
// The machine is asked what to do next (`next`) and told what came of it. It holds no socket,
// clock or thread: time is what it is told, counted from the beginning of the move.

public import Wire

/// Decides what the source of a running machine does next: rounds over what was written, when to
/// stop the machine, and whether its memory goes before it or behind it.
public struct LiveSource: Sendable {
  /// What the source is doing.
  public enum Phase: Sendable, Equatable {
    /// Nothing was written.
    case opening
    /// The dirty log begins; the first round is everything.
    case tracking
    /// Pages go while the machine runs.
    case copying
    /// What was written meanwhile is taken from the dirty log.
    case syncing
    /// Memory is to follow the machine, which runs until the destination has taken what was sent.
    case catchingUp(ping: UInt32)
    /// The machine is being stopped.
    case stopping
    /// It stands, and waits for somebody's word (`pause-before-switchover`).
    case held
    /// What it wrote last is taken from the dirty log.
    case lastSync
    /// The last pages go.
    case finishing
    /// The destination is asked whether it has all pages.
    case confirmingPages(ping: UInt32)
    /// The device state goes.
    case closing
    /// The destination is to confirm that it has loaded the machine.
    case awaitingConfirmation
    /// What is left goes by postcopy: a ``PostcopySource`` takes over.
    case switchingToPostcopy
    /// Over.
    case finished(SourceOutcome)
  }

  /// What to do next.
  public enum Instruction: Sendable, Equatable {
    /// Write these, in this order.
    case write([SourceElement])
    /// Begin to notice writes; then call ``LiveSource/tracked(remaining:)``.
    case track
    /// Send some pages of this round; then call ``LiveSource/sent(_:in:remaining:)``.
    case send
    /// Read the dirty log; then call ``LiveSource/synced(_:remaining:at:)``.
    case sync
    /// Slow the machine down; nil lets it run at its own pace again.
    case throttle(Throttle?)
    /// Stop the machine; then call ``LiveSource/paused(at:)``.
    case pause
    /// Nothing, at most until then, unless something happens.
    case rest(until: Duration)
    /// Nothing, until somebody says ``LiveSource/proceed()`` or the destination says something.
    case wait
    /// Hand the pages that are left to a ``PostcopySource``.
    case switchToPostcopy
    /// Nothing more: see the outcome.
    case finish
  }

  /// How long a round lasts at the least: reading the log over and over for a handful of pages
  /// would cost more than they do.
  public static let shortestRound: Duration = .milliseconds(10)

  /// What the source is doing now.
  public private(set) var phase = Phase.opening
  /// Rates, the downtime to be expected, and what they predict.
  public private(set) var convergence: Convergence
  /// How often the dirty log was read; 1 for the beginning, as QEMU counts.
  public private(set) var syncCount: UInt64 = 0
  /// When the machine was stopped, counted from the beginning.
  public private(set) var stoppedAt: Duration?

  /// Whether everything that was sent is known to be at the destination: if not, it is asked before
  /// the end, where `confirmsPages` was set.
  public var arePagesConfirmed = false

  private let usesReturnPath: Bool
  private let advice: PostcopyAdvice?
  /// Whether the destination is asked before the end if it has all pages.
  private let confirmsPages: Bool
  private var pausesBeforeSwitchover: Bool
  private var wantsPostcopy = false
  private var throttling: Throttling
  private var orderedThrottle: Throttle?
  private var lastSyncAt: Duration = .zero
  private var remaining: UInt64 = 0
  private var nextBarrier: UInt32 = Self.firstBarrier

  /// Barriers' PINGs, told apart from those of the protocol's own sequence and of postcopy's flow.
  static let firstBarrier: UInt32 = 0x100
  private static let lastBarrier: UInt32 = 0xFFF

  /// A source that has sent nothing.
  /// - Parameters:
  ///   - settings: what was asked of the move.
  ///   - usesReturnPath: whether the destination confirms by SHUT(0) that it loaded the machine.
  ///   - advice: what announces a postcopy that may follow; nil where none may. Needs a return
  ///     path.
  ///   - confirmsPages: whether pages may be missing at the destination although they were sent (by
  ///     their hash), so that it is asked before the end.
  public init(
    settings: LiveSettings, usesReturnPath: Bool, advice: PostcopyAdvice? = nil,
    confirmsPages: Bool = false
  ) {
    precondition(advice == nil || usesReturnPath, "postcopy needs a return path")
    precondition(!confirmsPages || usesReturnPath, "a confirmation needs a return path")
    self.usesReturnPath = usesReturnPath
    self.advice = advice
    self.confirmsPages = confirmsPages
    convergence = Convergence(settings)
    pausesBeforeSwitchover = settings.pausesBeforeSwitchover
    throttling = Throttling(settings.throttling)
  }

  /// Whether the destination can have begun to run: it has all it needs.
  public var destinationRunState: DestinationRunState {
    switch phase {
    case .closing, .awaitingConfirmation: .unknown
    case .finished(.completed): usesReturnPath ? .running : .unknown
    default: .notStarted
    }
  }

  /// Whether the move can be given up: until the destination has confirmed that it has the machine.
  ///
  /// Before the device state goes, the machine goes on here. After that nobody knows where it is
  /// (``destinationRunState``), and a destination that says nothing must not hold it for ever.
  public var canBeGivenUp: Bool {
    destinationRunState == .notStarted || phase == .closing || phase == .awaitingConfirmation
  }

  /// Whether the machine stands still for good, unless the move fails.
  public var isStopped: Bool { stoppedAt != nil }

  /// Whether all of memory goes by postcopy, whatever was sent: where that is next to nothing.
  ///
  /// Finding out what was written since takes a time that grows with memory, and the machine would
  /// stand still meanwhile.
  public var sendsAllAgain: Bool {
    guard wantsPostcopy, syncCount <= 1 else { return false }
    let sent = convergence.sentByteCount
    return sent <= Self.mostSentAgain && sent <= remaining / 8
  }

  private static let mostSentAgain: UInt64 = 64 << 20

  /// Whether memory is to follow the machine.
  public var isPostcopyWanted: Bool { wantsPostcopy }

  /// How the machine is slowed down at present.
  public var throttle: Throttle? { orderedThrottle }

  // MARK: What to do next

  /// What to do next, `now` after the beginning; what was told before has been carried out.
  public mutating func next(at now: Duration) -> Instruction {
    switch phase {
    case .opening:
      phase = wantsPostcopy ? .stopping : .tracking
      return .write(opening)
    case .tracking: return .track
    case .copying: return nextWhileCopying(at: now)
    case .syncing, .lastSync: return .sync
    case .stopping:
      // A machine that is to stand still is not slowed down any more.
      if orderedThrottle != nil {
        orderedThrottle = nil
        return .throttle(nil)
      }
      return .pause
    case .held, .catchingUp, .awaitingConfirmation, .confirmingPages: return .wait
    case .finishing: return nextWhileFinishing()
    case .closing:
      phase = usesReturnPath ? .awaitingConfirmation : .finished(.completed)
      return usesReturnPath ? .wait : .finish
    case .switchingToPostcopy: return .switchToPostcopy
    case .finished: return .finish
    }
  }

  private mutating func nextWhileCopying(at now: Duration) -> Instruction {
    if wantsPostcopy {
      // What the link and the destination still hold stands before the state of the devices: the
      // machine would stand still for as long as that takes, which is megabytes of pages.
      let ping = takeBarrier()
      phase = .catchingUp(ping: ping)
      return .write([.ping(ping)])
    }
    if let throttle = throttling.due, throttle != orderedThrottle {
      orderedThrottle = throttle
      return .throttle(throttle)
    }
    let isRoundOver = remaining == 0
    if isRoundOver || convergence.mayFit(remaining) || throttling.forcesSync(at: now, lastSyncAt) {
      let earliest = lastSyncAt + Self.shortestRound
      if now >= earliest {
        phase = .syncing
        return .sync
      }
      if isRoundOver { return .rest(until: earliest) }
    }
    return .send
  }

  private mutating func nextWhileFinishing() -> Instruction {
    if remaining > 0 { return .send }
    if confirmsPages, !arePagesConfirmed {
      let ping = takeBarrier()
      phase = .confirmingPages(ping: ping)
      return .write([.ping(ping)])
    }
    phase = .closing
    return .write(Self.ending)
  }

  /// The number of the next PING whose answer is waited for.
  private mutating func takeBarrier() -> UInt32 {
    defer { nextBarrier = nextBarrier == Self.lastBarrier ? Self.firstBarrier : nextBarrier + 1 }
    return nextBarrier
  }

  // MARK: What came of it

  /// Writes are noticed from now on, and `remaining` bytes are to be sent in the first round.
  public mutating func tracked(remaining: UInt64, at now: Duration = .zero) {
    // The destination may have ended the move meanwhile.
    guard phase == .tracking else { return }
    self.remaining = remaining
    syncCount = 1
    lastSyncAt = now
    convergence.begin(remaining: remaining, at: now)
    phase = .copying
  }

  /// Some pages were sent.
  /// - Parameters:
  ///   - byteCount: bytes of memory that went out, whatever they took on the wire.
  ///   - duration: the time that it took, until the kernel had taken all of it.
  ///   - remaining: bytes of memory that are left of this round.
  public mutating func sent(_ byteCount: UInt64, in duration: Duration, remaining: UInt64) {
    self.remaining = remaining
    convergence.sent(byteCount, in: duration, remaining: remaining)
  }

  /// Nothing was sent for so long because of a bandwidth limit.
  public mutating func heldBack(for duration: Duration) {
    convergence.heldBack(for: duration)
  }

  /// The dirty log was read.
  /// - Parameters:
  ///   - dirtied: bytes of memory that were written since it was read last.
  ///   - remaining: bytes of memory that are to be sent now.
  ///   - now: the time.
  public mutating func synced(_ dirtied: UInt64, remaining: UInt64, at now: Duration) {
    guard phase == .syncing || phase == .lastSync else { return }
    self.remaining = remaining
    syncCount += 1
    if phase == .lastSync {
      phase = wantsPostcopy ? .switchingToPostcopy : .finishing
      return
    }
    convergence.synced(dirtied, remaining: remaining, at: now)
    throttling.synced(dirtied, sent: convergence.sentByteCount, at: now)
    lastSyncAt = now
    phase = convergence.fits(remaining) ? .stopping : .copying
  }

  /// The machine stands still.
  public mutating func paused(at now: Duration) {
    stoppedAt = now
    guard phase == .stopping else { return }
    if pausesBeforeSwitchover {
      phase = .held
    } else {
      endHold()
    }
  }

  /// Somebody says that the machine may be switched over (`migrate-continue`).
  ///
  /// - Returns: whether that was waited for.
  public mutating func proceed() -> Bool {
    guard phase == .held else { return false }
    endHold()
    return true
  }

  private mutating func endHold() {
    phase = sendsAllAgain ? .switchingToPostcopy : .lastSync
  }

  /// Pages that were sent turned out to be missing at the destination, and are to be sent again.
  public mutating func missed(remaining: UInt64) {
    self.remaining = remaining
  }

  /// Before the machine is stopped, the destination has told what it misses; whether the machine is
  /// to be stopped now: if too much is left again, it goes on running first.
  public mutating func settledMisses(remaining: UInt64) -> Bool {
    // The destination may have ended the move meanwhile, in the very bytes of its answer.
    guard phase == .stopping else { return false }
    self.remaining = remaining
    guard !wantsPostcopy, !convergence.fits(remaining) else { return true }
    phase = .copying
    return false
  }

  /// Memory is to follow the machine as soon as possible (`migrate-start-postcopy`).
  ///
  /// - Returns: whether it will: false where no postcopy was announced, or too late.
  public mutating func startPostcopy() -> Bool {
    guard advice != nil else { return false }
    switch phase {
    case .opening, .tracking, .copying, .syncing, .catchingUp, .stopping, .held, .lastSync:
      wantsPostcopy = true
      return true
    case .switchingToPostcopy: return true
    case .finishing, .confirmingPages, .closing, .awaitingConfirmation, .finished: return false
    }
  }

  /// What is asked of the move has changed.
  public mutating func change(_ settings: LiveSettings) {
    convergence.settings = settings
    pausesBeforeSwitchover = settings.pausesBeforeSwitchover
    throttling.change(settings.throttling)
  }

  /// Takes a message of the return path; whoever waits for instructions asks again afterwards.
  public mutating func receive(_ message: ReturnPathMessage) throws(ProtocolViolation) {
    switch message {
    case .pong(let value):
      switch phase {
      case .catchingUp(value): phase = .stopping
      case .confirmingPages(value):
        // What was missing has come up before this answer, and is sent then.
        phase = .finishing
        arePagesConfirmed = remaining == 0
      default: return
      }
    case .switchoverAcknowledge: return
    case .shut(let status):
      guard status == 0 else {
        phase = .finished(.destinationFailed(code: status))
        return
      }
      guard phase == .awaitingConfirmation || phase == .closing else {
        throw violation("no SHUT before the end of the stream", "SHUT with 0 (success)")
      }
      phase = .finished(.completed)
    case .requestPages, .receivedBitmap, .resumeAcknowledge:
      throw violation("PONG or SHUT", "a message of postcopy: \(message)")
    case .knownPages, .knownPagesEnd, .missedPages:
      guard confirmsPages else {
        throw violation(
          "PONG or SHUT", "a message about pages that are known, which nobody asked for")
      }
    }
  }

  private func violation(_ expected: String, _ found: String) -> ProtocolViolation {
    ProtocolViolation(during: activity, expected: expected, found: found)
  }

  // MARK: The elements

  private var opening: [SourceElement] {
    var elements: [SourceElement] = [.header, .configuration]
    if usesReturnPath { elements += [.openReturnPath, .ping(1)] }
    if let advice {
      elements.append(
        .advise(pageSizeSummary: advice.pageSizeSummary, targetPageSize: advice.targetPageSize))
    }
    return elements + [.ramSetup]
  }

  private static let ending: [SourceElement] = [
    .ramEnd, .deviceState, .endOfStream, .description,
  ]

  /// What is being done, for an error's sentence.
  public var activity: String {
    switch phase {
    case .opening: "opening the stream to the destination"
    case .tracking: "beginning to notice what the machine writes"
    case .copying: "sending the memory of the running machine"
    case .syncing, .lastSync: "reading which pages the machine wrote"
    case .catchingUp: "waiting until the destination has taken what was sent"
    case .stopping: "stopping the machine"
    case .held: "waiting for the word to switch over"
    case .finishing: "sending the last pages"
    case .confirmingPages: "asking the destination whether it has all pages"
    case .closing: "sending the device state"
    case .awaitingConfirmation: "waiting for the destination's confirmation"
    case .switchingToPostcopy: "switching over to postcopy"
    case .finished: "closing the link"
    }
  }
}
