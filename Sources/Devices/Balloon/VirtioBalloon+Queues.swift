// What a balloon's driver says through its queues.

import GuestMemory
import Synchronization

extension VirtioBalloon {
  static let inflateQueue = 0
  static let deflateQueue = 1
  static let statisticsQueue = 2
  static let hintQueue = 3
  static let reportQueue = 4
  static let queueCount = 5

  /// Does what waits in the queues, and sleeps until the next report is to be asked for.
  func serve() -> ThreadWait {
    inflate()
    // The driver takes pages back by using them; nothing is to be done for it.
    each(Self.deflateQueue) { _ in true }
    readStatistics()
    takeHints()
    giveBackReported()
    return ThreadWait(timeout: pollStatisticsIfDue())
  }

  /// Handles each request of a queue; one that `body` refuses ends the driver's use of the device.
  private func each(_ queue: Int, _ body: (DescriptorChain) -> Bool) {
    while !thread.shouldYield, let chain = core.take(queue) {
      guard body(chain) else { return core.condemn(queue) }
      core.finish(queue, chain, written: 0)
    }
  }

  // MARK: Giving back

  /// The driver lists 4 KiB pages by number that it will not use.
  private func inflate() {
    each(Self.inflateQueue) { chain in
      guard chain.readableByteCount % 4 == 0,
        chain.readableByteCount / 4 <= VirtioLimits.balloonPageCount,
        let bytes = core.memory.gather(chain.readable)
      else { return false }
      var numbers = stride(from: 0, to: bytes.count, by: 4).map {
        bytes.littleEndian(UInt32.self, at: $0)
      }
      numbers.sort()
      var run: Range<UInt64>?
      for number in numbers.map(UInt64.init) {
        if let last = run, number <= last.upperBound {
          run = last.lowerBound..<max(last.upperBound, number + 1)
        } else {
          discard(pages: run)
          run = number..<number + 1
        }
      }
      discard(pages: run)
      return true
    }
  }

  /// The driver lends ranges that are free; when it gets them back it may use them.
  private func giveBackReported() {
    let isPoisoned = core.withState { state in
      state.registers.driverFeatures & Self.pagePoison != 0 && state.extra.poison != 0
    }
    each(Self.reportQueue) { chain in
      // Given back, a page would read as zeros, not as what the guest has filled it with.
      if isPoisoned { return true }
      for segment in chain.writable { discard(segment) }
      return true
    }
  }

  private func discard(pages: Range<UInt64>?) {
    guard let pages else { return }
    discard(
      GuestSegment(
        address: pages.lowerBound * Self.pageByteCount,
        byteCount: pages.count * Int(Self.pageByteCount)))
  }

  /// Gives the whole pages of a range back to the host; what is not memory is left alone.
  private func discard(_ segment: GuestSegment) {
    guard control.withLock({ $0.mayDiscard }),
      let pieces = core.memory.pieces(of: [segment], toWrite: true)
    else { return }
    for piece in pieces {
      let count = try? piece.block.discard(offset: piece.offset, byteCount: piece.byteCount)
      // The content has changed, to zeros; a copy made before is out of date.
      if count ?? 0 > 0 { piece.markDirty() }
    }
  }

  // MARK: Statistics

  /// Reads the report that lies in the queue, which stays there until the next one is wanted.
  private func readStatistics() {
    guard let chain = core.peek(Self.statisticsQueue) else { return }
    let index = core.withState { $0.registers.queues[Self.statisticsQueue].nextAvailable }
    guard control.withLock({ $0.readReport != index }) else { return }
    let count = min(chain.readableByteCount, VirtioLimits.statisticsByteCount)
    guard let bytes = core.memory.gather(chain.readable.slice(skipping: 0, count: count)) else {
      return core.condemn(Self.statisticsQueue)
    }
    control.withLock {
      $0.readReport = index
      $0.statistics = BalloonStatistics(report: bytes)
      $0.statisticsTime = .now
    }
  }

  /// Hands the driver its report back when a new one is due; how long until the next is.
  private func pollStatisticsIfDue() -> Duration? {
    let wait = control.withLock { control -> Duration? in
      guard let interval = control.pollInterval else { return nil }
      let elapsed = ContinuousClock.now - control.lastPoll
      if elapsed >= interval {
        control.lastPoll = .now
        return .zero
      }
      return interval - elapsed
    }
    guard wait == .zero else { return wait }
    if let chain = core.peek(Self.statisticsQueue) {
      core.finishPeeked(Self.statisticsQueue, chain, written: 0)
    }
    return control.withLock { $0.pollInterval }
  }
}
