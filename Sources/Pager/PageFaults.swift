// The faults of the machine's memory, heard and answered from outside of it.
//
// Memory is registered for two kinds: a page that does not exist, and one that does but that the
// machine has not been let in to. The pager writes a page through its own mapping, where nobody
// waits, and then has the kernel map it for the machine (UFFDIO_CONTINUE): no copy, and no instant
// at which the guest could see half of a page.

internal import Glibc
internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Userfault

/// Who waits for pages of the machine, and the letting in.
///
/// Letting in may be called from any thread.
final class PageFaults: Sendable {
  private let blocks: [PagedBlock]
  private let record: ArrivalRecord
  private let userfault: Userfault
  private let account: FaultAccount
  private let isEnded = Atomic<Bool>(false)

  /// How long the thread sleeps at most before it looks whether it is to end.
  private static let patienceMilliseconds: Int32 = 200
  /// Pages that are mapped at once where one of them is waited for and all have arrived.
  private static let neighbourLimit = 16

  init(
    _ blocks: [PagedBlock], _ record: ArrivalRecord, _ userfault: Userfault, threads: [Int32]
  ) {
    account = FaultAccount(record, threads: threads)
    self.blocks = blocks
    self.record = record
    self.userfault = userfault
  }

  /// Hears of faults from now on.
  ///
  /// - Parameter asking: called with the block and the page's first byte, on a thread of this
  ///   object's own; says whether the page has arrived.
  func begin(_ asking: @escaping @Sendable (Int, UInt64) -> Bool) throws {
    _ = try NamedThread(name: "page-faults") { [self] in
      // An error means that the machine's memory is gone; so will its end of the control link be.
      try? listen(asking)
    }
  }

  private func listen(_ asking: (Int, UInt64) -> Bool) throws {
    while !isEnded.load(ordering: .acquiring) {
      guard try userfault.wait(milliseconds: Self.patienceMilliseconds) else { continue }
      for event in try userfault.readEvents() { try take(event, asking) }
    }
  }

  /// Hears no more.
  func end() { isEnded.store(true, ordering: .releasing) }

  /// Has everyone who waits look again.
  func wakeAll() throws {
    for block in blocks { try userfault.wake(block.hostRange) }
  }

  private func take(_ event: UserfaultEvent, _ asking: (Int, UInt64) -> Bool) throws {
    guard case .pageFault(let address, _, _, let thread) = event,
      let index = blocks.firstIndex(where: { $0.hostRange.contains(address) })
    else { return }
    let pageSize = UInt(blocks[index].pageSize)
    let offset = (address - blocks[index].hostRange.lowerBound) / pageSize * pageSize
    account.wait(thread: thread, for: Blocktime.Page(block: index, offset: Int(offset)))
    guard asking(index, UInt64(offset)) else { return }
    try letIn(index, Int(offset))
    mapNeighbours(index, Int(offset))
  }

  /// Lets the machine in to a page that has arrived.
  func letIn(_ index: Int, _ offset: Int) throws {
    let block = blocks[index]
    let start = block.hostRange.lowerBound + UInt(offset)
    let page = start..<start + UInt(block.pageSize)
    var count = try map(page)
    if count == nil {
      // Zeros that nobody had touched: the page is made now.
      block.memory.touch(at: offset)
      count = try map(page)
    }
    // Mapped already: by a neighbour's fault, or by both threads of the pager.
    if count == 0 { try userfault.wake(page) }
    account.arrive(Blocktime.Page(block: index, offset: offset))
  }

  /// Lets the machine in to pages that have arrived and that nobody was known to wait for.
  ///
  /// One call for many: each costs the kernel as much as a fault.
  func letIn(_ index: Int, _ offsets: Range<Int>) throws {
    let base = blocks[index].hostRange.lowerBound
    var offset = offsets.lowerBound
    while offset < offsets.upperBound {
      let range = base + UInt(offset)..<base + UInt(offsets.upperBound)
      guard let count = try map(range) else { return }
      // It ends at a page that is mapped already, since somebody touched it meanwhile.
      offset += count + blocks[index].pageSize
    }
  }

  /// Maps a page for the machine and wakes who waits: bytes mapped, nil where there is no page.
  private func map(_ page: Range<UInt>) throws -> Int? {
    do {
      return try userfault.mapExisting(page)
    } catch {
      guard case .failed(_, EFAULT) = error else { throw error }
      return nil
    }
  }

  /// Maps pages behind one that somebody waited for, as far as they have arrived: they came before
  /// the machine ran, and each would be waited for otherwise.
  private func mapNeighbours(_ index: Int, _ offset: Int) {
    let block = blocks[index]
    let unit = ArrivalRecord.pageByteCount
    guard block.pageSize == unit else { return }
    let first = offset / unit + 1
    var end = first
    let limit = min(first + Self.neighbourLimit, Int(block.notice.byteCount) / unit)
    while end < limit, record.has(end, ofBlock: index) { end += 1 }
    guard end > first else { return }
    let start = block.hostRange.lowerBound
    // One that is mapped, or that nobody touched yet, ends it: it will be asked for by itself.
    _ = try? userfault.mapExisting(start + UInt(first * unit)..<start + UInt(end * unit))
  }
}
