// Free-page hints: which pages need not be copied because the guest does not use them.

public import GuestMemory
import Synchronization

/// The exchange, by the command in the configuration space:
///
/// ```
/// device: command N ──▶ driver: N, ranges …, 0        it keeps the pages it named
/// device: stop (0)  ──▶ driver stops naming pages
/// device: done (1)  ──▶ driver takes the pages back
/// ```
///
/// A hint holds from the moment it is told until the guest has its pages back. What the guest
/// writes into a page that it hinted at shows in the dirty log, as any write.
extension VirtioBalloon {
  /// The driver has no more to name.
  static let hintsStopped: UInt32 = 0
  /// The driver may use the pages it named.
  static let hintsDone: UInt32 = 1
  /// Commands from here on begin a new round.
  static let firstHintCommand: UInt32 = 0x8000_0000

  /// Asks the guest which pages it does not use.
  ///
  /// - Parameters:
  ///   - ended: called, on the balloon's thread, when the guest has named all there is for now.
  ///   - listener: told the whole pages of RAM that are free, on the balloon's thread, before the
  ///     guest gets its request back.
  /// - Returns: whether the guest's driver can say so. One that fills its free pages with something
  ///   is not asked: it would miss that in pages that come as zeros.
  @discardableResult
  public func startHinting(
    ended: @escaping @Sendable () -> Void = {},
    _ listener: @escaping @Sendable ([RAMRange]) -> Void
  ) -> Bool {
    let canHint = core.withState { state in
      let isPoisoned =
        state.registers.driverFeatures & Self.pagePoison != 0 && state.extra.poison != 0
      return state.registers.isLive && !isPoisoned
        && state.registers.driverFeatures & Self.pageHints != 0
    }
    guard canHint else { return false }
    let command = control.withLock { control in
      control.hintListener = listener
      control.hintEnd = ended
      let last = control.lastHintCommand
      control.lastHintCommand = last == .max ? Self.firstHintCommand : last + 1
      return control.lastHintCommand
    }
    core.changeConfiguration { state in
      state.extra.hintCommand = command
      state.extra.acceptedHintCommand = nil
    }
    return true
  }

  /// Ends the naming of pages; returns when the listener is not called any more.
  ///
  /// The guest keeps the pages it named until `finishHinting()`.
  public func stopHinting() {
    endHinting(command: Self.hintsStopped)
  }

  /// Ends the naming of pages and lets the guest use those it named.
  public func finishHinting() {
    endHinting(command: Self.hintsDone)
  }

  private func endHinting(command: UInt32) {
    thread.pause()
    control.withLock { control in
      control.hintListener = nil
      control.hintEnd = nil
    }
    core.changeConfiguration { state in
      state.extra.hintCommand = command
      state.extra.acceptedHintCommand = nil
    }
    thread.unpause()
  }

  /// Takes what the driver says about hints: the number of a command, the end, or free pages.
  func takeHints() {
    while !thread.shouldYield, let chain = core.take(Self.hintQueue) {
      if chain.readableByteCount >= 4 {
        guard
          let bytes = core.memory.gather(chain.readable.slice(skipping: 0, count: 4))
        else { return core.condemn(Self.hintQueue) }
        let command = bytes.littleEndian(UInt32.self, at: 0)
        let hasEnded = core.withState { state in
          let isCurrent =
            command == state.extra.hintCommand && command >= Self.firstHintCommand
          let hasEnded =
            command == Self.hintsStopped && state.extra.acceptedHintCommand != nil
          state.extra.acceptedHintCommand = isCurrent ? command : nil
          return hasEnded
        }
        if hasEnded { control.withLock(\.hintEnd)?() }
      }
      // The driver might use a page again as soon as it has its request back.
      if core.withState({ $0.extra.acceptedHintCommand != nil }) { tell(chain.writable) }
      core.finish(Self.hintQueue, chain, written: 0)
    }
  }

  private func tell(_ segments: [GuestSegment]) {
    guard let listener = control.withLock({ $0.hintListener }),
      let pieces = core.memory.pieces(of: segments, toWrite: true)
    else { return }
    let ranges = pieces.compactMap { piece -> RAMRange? in
      // Whole pages only: the rest of a page is somebody else's.
      let start = piece.block.ramOffset.rawValue + UInt64(piece.offset)
      let first = Int((start + 4095) / 4096)
      let end = Int((start + UInt64(piece.byteCount)) / 4096)
      return first < end ? RAMRange(pages: first..<end) : nil
    }
    if !ranges.isEmpty { listener(ranges) }
  }
}
