// The channel of requested pages beside a link in virtual time: another connection with faults of
// its own, so that its bytes come before or after those of the first as they like.

/// Joins a second connection to a first one: whichever is lost takes the other along.
enum PreemptPair {
  /// A second connection for a link that is up.
  ///
  /// - Parameter receive: called with each piece that arrives at the destination.
  static func join(
    _ link: FaultyLink, clock: VirtualClock, seed: UInt64, faults: FaultyLink.Faults,
    receive: @escaping ([UInt8]) throws -> Void
  ) -> FaultyLink {
    let preempt = FaultyLink(clock: clock, seed: seed, faults: faults)
    preempt.onForward = { [weak link] bytes in
      // A destination that has noticed the loss of one reads neither.
      if link?.isLost == false { try receive(bytes) }
    }
    preempt.onLoss = { [weak link] in link?.cut() }
    return preempt
  }

  /// What can go wrong with it: less than with the first, since little goes over it.
  static func faults(_ random: inout SeededRandom, mayBreak: Bool) -> FaultyLink.Faults {
    var faults = FaultyLink.Faults()
    faults.stalls = random.chance(20)
    guard mayBreak, random.chance(50) else { return faults }
    if random.chance(50) {
      faults.cutAfterForwardBytes = random.below(20_000)
    } else {
      faults.cutAfterTime = UInt64(random.below(3_000_000))
    }
    return faults
  }
}
