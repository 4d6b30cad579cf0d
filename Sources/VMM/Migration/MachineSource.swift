// A machine as what the sending engines take its pages and its state from, while it runs and after.

import GuestMemory
import MigrationCore
import MigrationEngine
import Synchronization
import Wire

/// Gives a machine to the sending engine: round by round while it runs, as it is once it stands.
final class MachineSource: LiveSourceEndpoint {
  /// The number under which `ram` travels; that of a checkpoint's source, so that a stream looks
  /// the same whoever sends it.
  static let ramSectionID: UInt32 = 2

  /// The unit of pages in the stream, in bytes.
  static let pageByteCount = 4096

  /// What a source does to its machine.
  struct Hooks: Sendable {
    /// Lends the dirty log.
    var log: DirtyLogLease
    /// Stops the machine for good; what it was doing, as it is told to who loads it.
    var freeze: @Sendable () throws -> RunState
    /// Takes the state of its processors and devices, as of a machine that did that.
    var save: @Sendable (RunState) throws -> DeviceState
    /// Slows its processors down.
    var throttle: @Sendable (Throttle?) -> Void
    /// The pages that need not travel.
    var excluded: ExcludedPages
    /// Asks the guest for more of them, while it runs; nil where nobody asks.
    var hints: FreePageHints?
    /// What the operator says need not travel, in ascending order.
    var operatorsPages: [RAMRange] = []
  }

  private struct Moving {
    var log: (any DirtyLog)?
    var round: MigrationRound?
    var runState: RunState?
    var deviceState: DeviceState?
    /// What was left out, once nothing can be left out any more.
    var leftOut: LeftOutPages?
    var untouched = UntouchedPages()
  }

  let configuration: StreamConfiguration
  let blocks: [RAMBlockDescription]
  private let memory: [RAMBlock]
  private let ram: RAMList
  private let hooks: Hooks
  private let moving = Mutex(Moving())

  var targetPageSize: Int { Self.pageByteCount }
  var ramSectionID: UInt32 { Self.ramSectionID }

  /// The machine's state; to be asked for once it was taken.
  var deviceState: DeviceState {
    moving.withLock { $0.deviceState } ?? DeviceState(bytes: [], description: nil)
  }

  /// What the machine was doing before it was paused for the move; nil while it was not.
  var frozenFrom: RunState? { moving.withLock { $0.runState } }

  /// - Parameters:
  ///   - ram: the machine's memory.
  ///   - hooks: what is done to the machine.
  init(_ ram: RAMList, _ hooks: Hooks) {
    self.ram = ram
    self.hooks = hooks
    configuration = Self.configuration
    memory = ram.blocks.filter(\.isMigratable)
    blocks = memory.map { block in
      RAMBlockDescription(
        name: block.name, usedLength: UInt64(block.byteCount),
        pageSize: block.pageSize > Self.pageByteCount ? UInt64(block.pageSize) : nil)
    }
  }

  /// What a stream says of the machine before anything else.
  static let configuration = StreamConfiguration(
    machine: Machine.typeName, targetPageBits: UInt32(pageByteCount.trailingZeroBitCount))

  // MARK: While it runs

  func beginRounds() throws {
    try moving.withLock { moving in
      let log = try hooks.log.take(for: "a migration")
      do {
        try log.start()
      } catch {
        hooks.log.giveBack()
        throw error
      }
      moving.log = log
      moving.round = MigrationRound(firstOf: ram, excluding: hooks.excluded, following: log)
    }
    hooks.excluded.hint(hooks.operatorsPages)
    hooks.hints?.begin()
    // What was said by now is known before the first page goes.
    moving.withLock { _ = $0.round?.harvest() }
  }

  func sync() throws -> UInt64 {
    try moving.withLock { moving in
      try moving.log?.sync()
      // Only what has to go again counts: pages that were left to send are no news.
      let harvest = moving.round?.harvest() ?? Harvest()
      return UInt64(harvest.addedCount * Self.pageByteCount)
    }
  }

  var remainingByteCount: UInt64 {
    moving.withLock { UInt64(($0.round?.remainingPageCount ?? 0) * Self.pageByteCount) }
  }

  var excludedByteCount: UInt64 {
    moving.withLock { UInt64(($0.round?.excludedPageCount ?? 0) * Self.pageByteCount) }
  }

  func excludedRuns() -> [RAMPageRun] {
    moving.withLock { moving in (moving.round?.excludedRuns() ?? []).compactMap(pageRun) }
  }

  /// A run of a round as the engine names it.
  private func pageRun(_ run: MigrationRound.Run) -> RAMPageRun? {
    guard let index = memory.firstIndex(where: { $0 === run.block }) else { return nil }
    let offset = UInt64(run.pages.lowerBound * Self.pageByteCount)
    return RAMPageRun(
      start: RAMPageAddress(blockIndex: index, offset: offset),
      byteCount: UInt64(run.pages.count * Self.pageByteCount))
  }

  /// A page's number among all of the machine's RAM.
  private func number(of page: RAMPageAddress) -> Int {
    memory[page.blockIndex].ramRange.pages.lowerBound + Int(page.offset) / Self.pageByteCount
  }

  /// What goes as zeros of a piece of memory that is sent after the rounds, whatever is in it: runs
  /// of bytes, counted from the beginning of the piece.
  ///
  /// What backs a block may be larger than what can be left out, and is sent whole all the same.
  private func leftOut(of page: RAMPageAddress, byteCount: Int) -> [Range<Int>] {
    let first = number(of: page)
    let pages = first..<first + byteCount / Self.pageByteCount
    let runs = moving.withLock { moving in
      moving.leftOut?.runs(in: pages) ?? hooks.excluded.leftOutRuns(in: pages)
    }
    return runs.map { run in
      (run.lowerBound - first) * Self.pageByteCount..<(run.upperBound - first) * Self.pageByteCount
    }
  }

  /// Whether shared memory has nothing there, which a reading would take memory for.
  private func isUntouched(_ page: RAMPageAddress, of block: RAMBlock, byteCount: Int) -> Bool {
    guard block.backing == .sharedMemory else { return false }
    let first = Int(page.offset) / Self.pageByteCount
    return moving.withLock { moving in
      moving.untouched.contains(
        first..<first + byteCount / Self.pageByteCount, of: block, stands: moving.runState != nil)
    }
  }

  func isKnownZero(_ page: RAMPageAddress, byteCount: Int) -> Bool {
    leftOut(of: page, byteCount: byteCount).reduce(0) { $0 + $1.count } == byteCount
  }

  func nextRun(limit: Int) throws -> RAMPageRun? {
    try moving.withLock { moving in
      let pages = max(1, limit / Self.pageByteCount)
      guard let run = moving.round?.nextRun(limit: pages) else { return nil }
      // What stands still writes nothing that would have to be noticed.
      if moving.runState == nil {
        try moving.log?.willSend(run.ramRange)
        // What was found before may have been written since, unnoticed until now.
        moving.untouched.forget(trusting: run.block, run.pages)
      }
      return pageRun(run)
    }
  }

  func lend(_ page: RAMPageAddress) -> LentPage {
    if hooks.excluded.isLeftOut(number(of: page)) { return .zero }
    let block = memory[page.blockIndex]
    if isUntouched(page, of: block, byteCount: Self.pageByteCount) { return .zero }
    return unsafe block.withUnsafeMemory(
      offset: Int(page.offset), byteCount: Self.pageByteCount
    ) { bytes in
      let content = UnsafeRawBufferPointer(bytes)
      // SAFETY: the mapping lives as long as the block, which this object keeps.
      return PageScan.isZero(unsafe content.bytes) ? .zero : unsafe .data(content)
    }
  }

  func putBack(_ run: RAMPageRun) {
    let range = memory[run.start.blockIndex].ramRange(
      offset: Int(run.start.offset), byteCount: Int(run.byteCount))
    moving.withLock { _ = $0.round?.putBack(range) }
  }

  func throttle(_ throttle: Throttle?) { hooks.throttle(throttle) }

  func endRounds() {
    moving.withLock { moving in
      guard let log = moving.log else { return }
      moving.log = nil
      // A postcopy that is carried on later still sends them as zeros.
      moving.leftOut = hooks.excluded.endMove()
      hooks.hints?.end()
      // What cannot be ended any more costs the guest a little speed, and nothing else.
      try? log.stop()
      hooks.log.giveBack()
    }
  }

  // MARK: Once it stands

  func pause() throws {
    hooks.hints?.stop()
    let before = try hooks.freeze()
    moving.withLock { $0.runState = before }
  }

  func takeDeviceState() throws -> DeviceState {
    try moving.withLock { moving in
      if let state = moving.deviceState { return state }
      let state = try hooks.save(moving.runState ?? .paused)
      moving.deviceState = state
      return state
    }
  }

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    let leftOut = leftOut(of: page, byteCount: byteCount)
    if leftOut.reduce(0, { $0 + $1.count }) == byteCount { return .zero }
    let block = memory[page.blockIndex]
    let offset = Int(page.offset)
    if isUntouched(page, of: block, byteCount: byteCount) { return .zero }
    if try block.isZero(offset: offset, byteCount: byteCount) { return .zero }
    // SAFETY: the engine lends at least `byteCount` bytes for the call, all of which are written.
    let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
    var room = unsafe MutableRawSpan(_unsafeBytes: bytes)
    try block.read(offset: offset, into: &room)
    for part in leftOut {
      // SAFETY: the part lies in the piece, which is not longer than the buffer.
      unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[part])
        .initializeMemory(as: UInt8.self, repeating: 0)
    }
    return .data
  }
}
