// The machine as the engine in the pager sees it: memory is at hand, everything else is asked of
// the machine over the control link.

internal import MigrationCore
internal import MigrationEngine
internal import Synchronization
internal import Wire

/// A block of the machine's memory, mapped here.
struct PagedBlock: Sendable {
  let notice: MemoryNotice
  let memory: SharedMapping
  /// Where it lies in the machine's address space.
  let hostRange: Range<UInt>

  var pageSize: Int { Int(notice.pageSize) }

  init(_ notice: MemoryNotice, _ memory: SharedMapping) {
    self.notice = notice
    self.memory = memory
    hostRange = UInt(notice.hostAddress)..<UInt(notice.hostAddress) + UInt(notice.byteCount)
  }
}

/// What the engine in the pager fills.
final class PagerEndpoint: PostcopyEndpoint {
  private let blocks: [PagedBlock]
  private let record: ArrivalRecord
  private let faults: PageFaults
  private let machine: MachineCalls
  /// Whether another pager filled memory before this one: pages that have not arrived may hold
  /// what it left.
  private let isReplacement: Bool
  /// Whether memory keeps what a machine left behind until its pages come.
  private let keepsMemory: Bool
  /// Which block of the machine each announced one is.
  private let order: Mutex<[Int]>
  /// Pages of a machine that does not run yet, which are written together.
  private let gathered = Mutex(PageRun())
  /// Pages of a machine that runs, which it is let in to together.
  private let arrived = Mutex(ArrivedRun())

  /// - Parameters:
  ///   - blocks: the machine's memory, in its own order.
  ///   - record: what has arrived.
  ///   - faults: those of the machine.
  ///   - machine: takes calls.
  ///   - keepsMemory: whether memory keeps what a machine left behind until its pages come.
  ///   - order: for a pager that replaces another, where the announced blocks lie.
  init(
    _ blocks: [PagedBlock], _ record: ArrivalRecord, _ faults: PageFaults,
    _ machine: MachineCalls, keepsMemory: Bool = false, order: [Int]? = nil
  ) {
    self.keepsMemory = keepsMemory
    self.blocks = blocks
    self.record = record
    self.machine = machine
    isReplacement = order != nil
    self.order = Mutex(order ?? [])
    self.faults = faults
  }

  /// The place of an announced block among the machine's.
  private func place(of index: Int) -> Int { order.withLock { $0[index] } }

  private static func number(of page: RAMPageAddress) -> Int {
    Int(page.offset) / ArrivalRecord.pageByteCount
  }

  // MARK: Before the machine runs

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {
    let order = try machine.call(.prepare(configuration, blocks)).map(Int.init)
    guard order.count == blocks.count, order.allSatisfy({ $0 < self.blocks.count }),
      zip(order, blocks).allSatisfy({ self.blocks[$0].notice.byteCount == $1.usedLength })
    else { throw PagerError.protocolViolation("the machine's blocks are not those announced") }
    for (index, block) in zip(order, blocks) {
      let own = self.blocks[index].notice.pageSize
      guard block.pageSize ?? own == own else {
        throw PagerError.refused(
          "the RAM block '\(block.name)' comes in pages of \(block.pageSize ?? own) bytes, and "
            + "this machine's has \(own): give both huge pages or neither, or send the machine "
            + "whole")
      }
    }
    self.order.withLock { $0 = order }
  }

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    let index = place(of: page.blockIndex)
    let offset = Int(page.offset)
    guard blocks[index].pageSize == ArrivalRecord.pageByteCount else {
      blocks[index].memory.write(at: offset, content)
      let number = Self.number(of: page)
      return record.insert(number..<number + 1, ofBlock: index)
    }
    try gathered.withLock { run in
      if !run.takes(offset, ofBlock: index, byteCount: content.byteCount) { try write(&run) }
      run.append(content, at: offset, ofBlock: index)
    }
  }

  /// Writes what was gathered; only then has it arrived.
  private func write(_ run: inout PageRun) throws {
    guard !run.isEmpty else { return }
    try run.bytes.withBytes { try blocks[run.block].memory.store(at: run.start, $0) }
    let first = run.start / ArrivalRecord.pageByteCount
    let count = run.bytes.count / ArrivalRecord.pageByteCount
    record.insert(first..<first + count, ofBlock: run.block)
    run.removeAll()
  }

  private func writeRun() throws { try gathered.withLock { try write(&$0) } }

  func placeZero(_ page: RAMPageAddress) throws {
    let index = place(of: page.blockIndex)
    let number = Self.number(of: page)
    try gathered.withLock { run in
      if run.holds(Int(page.offset), ofBlock: index) { try write(&run) }
    }
    // Where memory was emptied when the machine was announced, only what came before can be in the
    // way.
    if keepsMemory || record.has(number, ofBlock: index) { try clear(page, ofBlock: index) }
    record.insert(number..<number + 1, ofBlock: index)
  }

  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {
    try writeRun()
    blocks[place(of: page.blockIndex)].memory.read(at: Int(page.offset), into: &buffer)
  }

  func takeDeviceState(_ state: DeviceState) throws {
    try writeRun()
    _ = try machine.call(.takeDeviceState(state))
  }

  func complete() throws {
    try writeRun()
    if keepsMemory { try emptyLeftOvers() }
    _ = try machine.call(.complete)
  }

  /// Has pages that never came be zeros.
  private func emptyLeftOvers() throws {
    for (index, block) in blocks.enumerated() {
      let pages = record.pages(ofBlock: index).arrived
      for run in pages.runs(in: 0..<pages.pageCount, ofMembers: false) {
        try block.memory.punch(
          run.lowerBound * ArrivalRecord.pageByteCount..<run.upperBound
            * ArrivalRecord.pageByteCount)
      }
    }
  }

  // MARK: While it runs

  func pageByteCount(ofBlock index: Int) -> Int { blocks[place(of: index)].pageSize }

  func advise(_ advice: PostcopyAdvice) throws {
    let own = UInt64(ArrivalRecord.pageByteCount)
    let summary = blocks.reduce(0) { $0 | $1.notice.pageSize }
    guard advice.targetPageSize == own, advice.pageSizeSummary == summary else {
      throw PagerError.refused(
        "the source announces memory in pages of other sizes (the sum of their bits is "
          + "\(advice.pageSizeSummary)) than this machine's (\(summary)): give both huge pages of "
          + "the same size or neither, or send the machine whole")
    }
  }

  func discard(_ range: Range<UInt64>, ofBlock index: Int) throws {
    try writeRun()
    let index = place(of: index)
    let size = UInt64(ArrivalRecord.pageByteCount)
    record.discard(
      Int(range.lowerBound / size)..<Int(range.upperBound / size), ofBlock: index)
    // What was left here may be what the page is now; nobody is let in to it before that is known.
    guard !keepsMemory else { return }
    try blocks[index].memory.punch(Int(range.lowerBound)..<Int(range.upperBound))
  }

  func beginServing(
    _ recovery: StreamDecoder.Recovery, asking: @escaping @Sendable (RAMPageAddress) -> Bool
  ) throws {
    try writeRun()
    let announced = order.withLock { $0 }
    let numbers = blocks.indices.map { place in announced.firstIndex(of: place) ?? 0 }
    try faults.begin { place, offset in
      asking(RAMPageAddress(blockIndex: numbers[place], offset: offset))
    }
    if isReplacement {
      // Who waits was reported to the former pager, and is reported anew once it is woken.
      try faults.wakeAll()
    } else {
      _ = try machine.call(.beginServing(recovery))
    }
  }

  func fill(_ page: RAMPageAddress, content: RawSpan) throws {
    let block = blocks[place(of: page.blockIndex)]
    guard block.pageSize == ArrivalRecord.pageByteCount else {
      return block.memory.write(at: Int(page.offset), content)
    }
    try block.memory.store(at: Int(page.offset), content)
  }

  func fillZero(_ page: RAMPageAddress) throws {
    // What a page has that was not filled are zeros, unless a pager died filling it or it was here
    // before.
    if isReplacement || keepsMemory { try clear(page, ofBlock: place(of: page.blockIndex)) }
  }

  func keep(_ page: RAMPageAddress) throws {
    let index = place(of: page.blockIndex)
    let first = Self.number(of: page)
    record.insert(
      first..<first + blocks[index].pageSize / ArrivalRecord.pageByteCount, ofBlock: index)
  }

  func release(_ page: RAMPageAddress, isAwaited: Bool, isZero: Bool) throws {
    // Zeros that nobody waits for take no memory until somebody touches them.
    guard isAwaited || !isZero else { return }
    let (index, offset) = (place(of: page.blockIndex), Int(page.offset))
    if isAwaited { return try faults.letIn(index, offset) }
    // Whoever touches one of them meanwhile is let in by the fault, which finds it arrived.
    let ready = arrived.withLock { $0.add(offset, size: blocks[index].pageSize, ofBlock: index) }
    if let ready { try faults.letIn(ready.block, ready.offsets) }
  }

  func load(_ state: DeviceState) throws { _ = try machine.call(.load(state)) }

  func commit() { record.decision = .runs }

  func giveUp() { record.decision = .neverRuns }

  func run() throws { _ = try machine.call(.run) }

  func endServing(missing: [(blockIndex: Int, range: Range<UInt64>)]) throws {
    for (index, range) in missing {
      try blocks[place(of: index)].memory.punch(Int(range.lowerBound)..<Int(range.upperBound))
    }
    _ = try machine.call(.endServing)
    faults.end()
  }

  /// Has a target page be zeros that nobody is let in to.
  private func clear(_ page: RAMPageAddress, ofBlock index: Int) throws {
    let start = Int(page.offset)
    if blocks[index].pageSize == ArrivalRecord.pageByteCount {
      try blocks[index].memory.punch(start..<start + ArrivalRecord.pageByteCount)
    } else {
      blocks[index].memory.clear(at: start, byteCount: ArrivalRecord.pageByteCount)
    }
  }
}
