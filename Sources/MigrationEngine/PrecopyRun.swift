// All of a stopped machine's memory, then its devices. One thread reads pages and encodes them,
// the one that called writes; batches of half a mebibyte go from one to the other.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// Sends a stopped machine by plain precopy.
final class PrecopyRun: SourceRun {
  private let session: SourceSession
  private let machine: Mutex<PrecopySource>
  private let batches: BatchQueue
  private let usesReturnPath: Bool
  /// The number of the batch that holds the device state; -1 while it is not made.
  private let lastBatch = Atomic<Int>(-1)
  private let isEnding = Atomic<Bool>(false)

  /// What is known of the destination's machine: it cannot run before the last batch.
  private var destinationRunState: DestinationRunState {
    isEnding.load(ordering: .acquiring)
      ? machine.withLock { $0.destinationRunState } : .notStarted
  }

  private var activity: String { machine.withLock { $0.activity } }

  var counters: ProgressCounters { session.counters }
  var report: SourceReport { session.report }

  init(
    channel: ByteChannel, endpoint: any SourceEndpoint, options: SourceOptions,
    usesReturnPath: Bool
  ) {
    session = SourceSession(
      channel: channel, endpoint: endpoint, options: options, isPostcopy: false)
    machine = Mutex(
      PrecopySource(
        blocks: session.format.blocks, omittedBlocks: endpoint.omittedBlocks,
        usesReturnPath: usesReturnPath))
    batches = BatchQueue()
    self.usesReturnPath = usesReturnPath
  }

  func cancel() {
    session.cancel()
    batches.close()
  }

  func change(bandwidthLimit: UInt64?) { session.bandwidthLimit.change(to: bandwidthLimit) }

  func run() throws(MigrationError) {
    session.begin()
    do {
      try counters.advance(to: .setup)
      try send()
      try counters.advance(to: .completed)
    } catch {
      let state = destinationRunState
      // The destination must not wait for what will not come.
      session.channel.shutdownBoth()
      if session.isCancelled {
        try? counters.advance(to: .cancelling)
        try? counters.advance(to: .cancelled)
        throw .cancelled(destination: state)
      }
      try? counters.advance(to: .failed)
      throw MigrationError(sending: error, during: activity, destination: state)
    }
  }

  private func send() throws {
    let shared = FirstError()
    let thread: NamedThread
    do {
      thread = try NamedThread(name: "godwit-pages") { [self] in
        do {
          try produce()
          batches.finish()
        } catch {
          shared.store(error)
          batches.close()
        }
      }
    } catch {
      throw ResourceFailure(activity: "starting a thread", cause: error)
    }
    defer {
      batches.close()
      thread.join()
    }
    try counters.advance(to: .active)
    try writeBatches()
    if let error = shared.error { throw error }
    if session.isCancelled { throw TransportError.cancelled(action: "Sending") }
    try awaitEnd()
  }

  private func produce() throws {
    let reader = PageReader(
      endpoint: session.endpoint, format: session.format, counters: counters)
    var encoder = session.format.encoder()
    var batchCount = 0
    while true {
      switch machine.withLock({ $0.next() }) {
      case .write(let elements):
        try session.format.append(elements, to: &encoder)
      case .range(let blockIndex, let range):
        session.format.beginPart(&encoder)
        try append(range, ofBlock: blockIndex, reader, &encoder)
        session.format.endSection(&encoder)
        counters.remainingRAMBytes.subtract(UInt64(range.count), ordering: .relaxed)
      case .page, .wait, .finish:
        return
      }
      // Zero pages take few bytes: batches are by size, whatever number of ranges that is.
      let isLast = machine.withLock { $0.phase == .closing }
      guard encoder.buffer.count >= 256 << 10 || isLast else { continue }
      if isLast { lastBatch.store(batchCount, ordering: .releasing) }
      batchCount += 1
      guard let empty = batches.put(encoder.buffer) else { return }
      encoder.buffer = empty
    }
  }

  private func append(
    _ range: Range<UInt64>, ofBlock blockIndex: Int, _ reader: PageReader,
    _ encoder: inout StreamEncoder
  ) throws {
    let size = session.format.targetPageSize
    let pages = stride(from: range.lowerBound, to: range.upperBound, by: size).map {
      RAMPageAddress(blockIndex: blockIndex, offset: $0)
    }
    for first in stride(from: 0, to: pages.count, by: PageReader.groupPageCount) {
      let group = pages[first..<min(first + PageReader.groupPageCount, pages.count)]
      reader.readAhead(Array(group), byteCount: size)
      for page in group { try append(page, reader, &encoder) }
    }
  }

  private func append(
    _ page: RAMPageAddress, _ reader: PageReader, _ encoder: inout StreamEncoder
  ) throws {
    do {
      try reader.append(page, byteCount: session.format.targetPageSize, to: &encoder)
    } catch {
      throw EndpointFailure(activity: "reading a page of memory to send", cause: error)
    }
  }

  private func writeBatches() throws {
    var limiter = RateLimiter()
    var batchCount = 0
    while let batch = batches.take() {
      if lastBatch.load(ordering: .acquiring) == batchCount {
        isEnding.store(true, ordering: .releasing)
      }
      batchCount += 1
      try session.channel.write(batch)
      counters.bytesSent.add(UInt64(batch.count), ordering: .relaxed)
      let count = batch.count
      batches.recycle(batch)
      let delay = limiter.delay(afterSending: count, limit: session.bandwidthLimit.value)
      if delay > .zero { batches.pause(for: delay) }
    }
  }

  /// Waits for what tells that the destination has it all: SHUT, or the closed link.
  private func awaitEnd() throws {
    try counters.advance(to: .device)
    if !usesReturnPath {
      try session.channel.shutdownWrite()
      guard session.options.waitsForClose else { return }
      var scratch = ReceiveBuffer(byteCount: 4096)
      while true {
        // Without a return path nothing comes but the end, and a broken link is an end too: what
        // became of the machine, only the destination can tell.
        if let count = try? scratch.fill(from: session.channel), count > 0 { continue }
        // An end of this side's making is none of the destination's.
        if session.isCancelled { throw TransportError.cancelled(action: activity) }
        return
      }
    }
    try readReturnPath()
    session.channel.shutdownBoth()
  }

  private func readReturnPath() throws {
    var decoder = ReturnPathDecoder(pageCounts: session.format.pageCounts)
    var buffer = ReceiveBuffer(byteCount: 4096)
    while true {
      let count = try buffer.fill(from: session.channel)
      guard count > 0 else { throw ClosedEarly() }
      counters.bytesReceived.add(UInt64(count), ordering: .relaxed)
      try buffer.withReceived { bytes in
        try decoder.feed(bytes) { message in
          try machine.withLock { try $0.receive(message) }
        }
      }
      switch machine.withLock({ $0.phase }) {
      case .finished(.completed): return
      case .finished(.destinationFailed(let code)): throw DestinationFailure(code: code)
      case .finished, .opening, .sendingPages, .closing, .awaitingConfirmation: continue
      }
    }
  }
}
