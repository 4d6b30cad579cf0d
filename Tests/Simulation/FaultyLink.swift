// A connection in virtual time: bytes arrive in order, late, in pieces of any size, or no more.

/// One connection between two sides, with the faults that its seed gives it.
public final class FaultyLink {
  /// What can go wrong with a link.
  public struct Faults {
    /// The link breaks once this many bytes were sent to the destination.
    public var cutAfterForwardBytes: Int?
    /// The link breaks once this many bytes were sent to the source.
    public var cutAfterBackwardBytes: Int?
    /// The link breaks at this time, in nanoseconds after it was made.
    public var cutAfterTime: UInt64?
    /// Whether deliveries are held up now and then for a long time.
    public var stalls = false

    /// A link that never fails.
    public init() {}
  }

  /// Which way bytes go.
  public enum Direction { case forward, backward }

  /// Whether bytes still get through.
  public private(set) var isUp = true
  /// Whether both sides have learnt that none does.
  public private(set) var isLost = false
  /// Called with each piece that arrives at the destination.
  public var onForward: ([UInt8]) throws -> Void = { _ in }
  /// Called with each piece that arrives at the source.
  public var onBackward: ([UInt8]) throws -> Void = { _ in }
  /// Called once when both sides learn that the link is gone.
  public var onLoss: () throws -> Void = {}

  private let clock: VirtualClock
  private var random: SeededRandom
  private let faults: Faults
  private var sent = [0, 0]
  private var lastArrival: [UInt64] = [0, 0]

  /// A link that is up.
  public init(clock: VirtualClock, seed: UInt64, faults: Faults) {
    self.clock = clock
    self.faults = faults
    random = SeededRandom(seed: seed)
    if let time = faults.cutAfterTime {
      clock.after(time) { [weak self] in self?.cut() }
    }
  }

  /// Sends bytes; what the fault leaves of them arrives some time.
  ///
  /// - Returns: whether it leaves all of them.
  @discardableResult
  public func send(_ bytes: [UInt8], _ direction: Direction) -> Bool {
    guard isUp else { return false }
    let index = direction == .forward ? 0 : 1
    let limit = direction == .forward ? faults.cutAfterForwardBytes : faults.cutAfterBackwardBytes
    let room = limit.map { max(0, $0 - sent[index]) } ?? bytes.count
    let passing = min(room, bytes.count)
    sent[index] += passing
    deliver(Array(bytes[..<passing]), direction)
    if passing < bytes.count { cut() }
    return passing == bytes.count
  }

  /// Ends the link; what is under way may still arrive before the loss is noticed.
  public func cut() {
    guard isUp else { return }
    isUp = false
    let drain = random.chance(50) ? (lastArrival.max() ?? 0) : clock.now
    let delay = (drain > clock.now ? drain - clock.now : 0) + 1
    let isAbrupt = drain == clock.now
    if isAbrupt {
      onForward = { _ in }
      onBackward = { _ in }
    }
    clock.after(delay) { [self] in
      isLost = true
      try onLoss()
    }
  }

  private func deliver(_ bytes: [UInt8], _ direction: Direction) {
    let index = direction == .forward ? 0 : 1
    var position = 0
    while position < bytes.count {
      let size =
        switch random.below(4) {
        case 0: 1 + random.below(16)
        case 1: 1 + random.below(600)
        default: bytes.count
        }
      let end = min(bytes.count, position + size)
      let piece = Array(bytes[position..<end])
      position = end
      var delay = UInt64(5_000 + random.below(40_000) + piece.count)
      if faults.stalls, random.chance(2) { delay += UInt64(random.below(20_000_000)) }
      lastArrival[index] = max(lastArrival[index] + 1, clock.now + delay)
      clock.after(lastArrival[index] - clock.now) { [self] in
        if direction == .forward { try onForward(piece) } else { try onBackward(piece) }
      }
    }
  }
}
