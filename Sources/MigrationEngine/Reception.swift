// One stream being received: what the decoder finds goes through the state machine and into the
// endpoint, and answers go back to the source.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// Takes a stream's events and pages on behalf of `DestinationEngine`.
struct Reception: StreamVisitor {
  private let endpoint: any DestinationEndpoint
  private let channel: ByteChannel
  private let counters: ProgressCounters
  private var machine: DestinationStateMachine
  private var deltaBase: [UInt8] = []
  private var targetPageSize: Int

  init(
    endpoint: any DestinationEndpoint, channel: ByteChannel, options: DestinationOptions,
    counters: ProgressCounters
  ) {
    self.endpoint = endpoint
    self.channel = channel
    self.counters = counters
    targetPageSize = options.decoder.targetPageSize
    machine = DestinationStateMachine(
      sendsSwitchoverAcknowledgement: options.sendsSwitchoverAcknowledgement)
  }

  /// Whether the machine is whole and the source was told; nothing more will come.
  var isComplete: Bool { machine.phase == .completed }

  var report: DestinationReport {
    let progress = counters.snapshot
    var report = DestinationReport()
    report.bytesReceived = progress.bytesReceived
    report.zeroPages = progress.zeroPages
    report.normalPages = progress.normalPages
    report.deltaPages = progress.deltaPages
    report.passCount = progress.passCount
    report.confirmedToSource = machine.hasReturnPath && isComplete
    return report
  }

  // MARK: What the decoder finds

  mutating func visit(_ event: StreamEvent) throws {
    if case .configuration(let configuration) = event, let bits = configuration.targetPageBits {
      targetPageSize = 1 << Int(bits)
    }
    if case .command(.postcopyAdvise(let advice?)) = event {
      targetPageSize = Int(clamping: advice.targetPageSize)
    }
    try perform(try machine.on(event))
  }

  mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
    try machine.onPage(page)
    do {
      try endpoint.place(page, content: content)
    } catch {
      throw EndpointFailure(activity: "keeping a page of memory", cause: error)
    }
    counters.normalPages.add(1, ordering: .relaxed)
    notePass()
  }

  mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
    try machine.onPage(page)
    do {
      if fill == 0 {
        try endpoint.placeZero(page)
      } else {
        let content = [UInt8](repeating: fill, count: targetPageSize)
        try content.withBytes { try endpoint.place(page, content: $0) }
      }
    } catch {
      throw EndpointFailure(activity: "keeping a page of memory", cause: error)
    }
    counters.zeroPages.add(1, ordering: .relaxed)
    notePass()
  }

  mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
    try machine.onPage(page)
    if deltaBase.count != targetPageSize {
      deltaBase = [UInt8](repeating: 0, count: targetPageSize)
    }
    do {
      try endpoint.read(page, into: &deltaBase)
    } catch {
      throw EndpointFailure(activity: "reading back the page that a delta changes", cause: error)
    }
    try deltaBase.apply(delta: xbzrle)
    do {
      try deltaBase.withBytes { try endpoint.place(page, content: $0) }
    } catch {
      throw EndpointFailure(activity: "keeping a page of memory", cause: error)
    }
    counters.deltaPages.add(1, ordering: .relaxed)
    notePass()
  }

  private func notePass() {
    counters.passCount.store(UInt64(machine.passCount), ordering: .relaxed)
  }

  /// The source's bytes ended where a stream may end.
  mutating func endOfInput() throws {
    try machine.onEndOfInput()
  }

  // MARK: What is to be done

  private mutating func perform(_ actions: [DestinationStateMachine.Action]) throws {
    for action in actions {
      switch action {
      case .reply(let message):
        try reply(message)
      case .prepare(let configuration, let blocks):
        try counters.advance(to: .active)
        counters.totalRAMBytes.store(
          blocks.reduce(0) { $0 &+ $1.usedLength }, ordering: .relaxed)
        do {
          try endpoint.prepare(configuration: configuration, blocks: blocks)
        } catch {
          throw EndpointFailure(activity: "preparing for the machine", cause: error)
        }
      case .takeDeviceState(let state):
        try counters.advance(to: .device)
        do {
          try endpoint.takeDeviceState(state)
        } catch {
          throw EndpointFailure(activity: "keeping the state of the devices", cause: error)
        }
      case .seal:
        do {
          try endpoint.complete()
        } catch {
          throw EndpointFailure(activity: "making the machine durable", cause: error)
        }
        try perform(machine.sealed())
      }
    }
  }

  private func reply(_ message: ReturnPathMessage) throws {
    var bytes: [UInt8] = []
    try message.encode(into: &bytes)
    try channel.write(bytes)
    counters.bytesSent.add(UInt64(bytes.count), ordering: .relaxed)
  }

  // MARK: How it failed

  /// Tells the source, if it listens, and says what a person is told.
  mutating func failure(_ error: any Error, isCancelled: Bool) -> MigrationError {
    let activity = machine.activity
    for case .reply(let message) in machine.fail() {
      // The source hears of the failure from this or from the closed link, whichever gets through.
      try? reply(message)
    }
    channel.shutdownBoth()
    let final: MigrationStatus = isCancelled ? .cancelled : .failed
    if isCancelled { try? counters.advance(to: .cancelling) }
    try? counters.advance(to: final)
    if isCancelled { return .cancelled(destination: .notStarted) }
    let bytes = counters.bytesReceived.load(ordering: .relaxed)
    switch error {
    case let error as EndpointFailure:
      return .endpoint(during: error.activity, cause: error.cause)
    case let error as DestinationStateMachine.Refusal:
      return .refused(reason: error.description, bytesReceived: bytes)
    case let error as TransportError:
      return .sourceClosed(during: activity, bytesReceived: bytes, cause: error)
    case let error as WireError where error.kind == .truncated:
      return .sourceClosed(during: activity, bytesReceived: bytes, cause: error)
    case let error as IllegalTransition:
      return .internal(error)
    default:
      return .malformedStream(bytesReceived: bytes, cause: error)
    }
  }
}

/// An error of the endpoint, told apart from those of the stream.
struct EndpointFailure: Error {
  let activity: String
  let cause: any Error
}
