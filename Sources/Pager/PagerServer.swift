// The pager's own life, in its own process: it is given a machine's memory, serves it until the
// machine is whole, and ends with the machine.

internal import MigrationCore
public import MigrationEngine
internal import Synchronization
public import Transport
internal import Userfault
internal import Wire

/// A pager: receives a machine's memory on its behalf.
public final class PagerServer: Sendable {
  /// The number under which a pager finds its end of the control link.
  public static let controlDescriptor: Int32 = 3

  /// What the machine hands over, in this order, before anything else.
  private struct Given: Sendable {
    var notices: [MemoryNotice] = []
    var blocks: [PagedBlock] = []
    /// What the machine left in them when it went, where it comes back into that.
    var leftHere: [any KnownContent] = []
    var record: ArrivalRecord?
    var userfault: Userfault?
    var threads: [Int32] = []
    var recovery: InterruptedPostcopy?
    var order: [Int]?
    /// Where a link is read from, until it is known where it is written to.
    var input: (descriptor: Int32, number: UInt32, peer: String)?
    var engine: DestinationEngine?
    /// Where the channel of requested pages of the latest link is handed over.
    var preempt: (number: UInt32, reception: PreemptReception)?
  }

  private let control: PagerControl
  private let calls: MachineCalls
  private let knownContent: [any KnownContent]?
  private let keepsMemory: Bool
  private let takesPreempt: Bool
  private let given = Mutex(Given())

  private init(
    _ control: PagerControl, _ knownContent: [any KnownContent]?, keepsMemory: Bool,
    takesPreempt: Bool
  ) {
    self.takesPreempt = takesPreempt
    self.control = control
    self.knownContent = knownContent
    self.keepsMemory = keepsMemory
    calls = MachineCalls(control)
  }

  /// Serves the machine at the other end of a descriptor; returns when there is none any more.
  ///
  /// - Parameters:
  ///   - descriptor: the link to the machine.
  ///   - knownContent: what is held here already, where source and machine have the capability
  ///     `x-known-pages`.
  ///   - keepsMemory: whether the machine comes back into memory that it left behind, which is
  ///     known content then, and keeps it until its pages come.
  ///   - takesPreempt: whether requested pages come over a channel of their own, where source and
  ///     machine have the capability `postcopy-preempt`.
  /// - Throws: what is wrong with what the machine says.
  public static func serve(
    _ descriptor: consuming OwnedDescriptor, knownContent: [any KnownContent]? = nil,
    keepsMemory: Bool = false, takesPreempt: Bool = false
  ) throws {
    for content in knownContent ?? [] { content.prepare() }
    let control = try PagerControl(descriptor, peer: "the machine")
    let server = PagerServer(
      control, knownContent, keepsMemory: keepsMemory, takesPreempt: takesPreempt)
    try control.send(.hello(version: PagerMessage.version))
    guard let (first, _) = try control.receive() else { return }
    guard case .hello(let version) = first, version == PagerMessage.version else {
      throw PagerError.protocolViolation(
        "the machine begins with \(first), and this pager speaks version \(PagerMessage.version)")
    }
    while let (message, descriptor) = try control.receive() {
      try server.take(message, descriptor.map(OwnedBox.init))
    }
  }

  private func take(_ message: PagerMessage, _ descriptor: OwnedBox?) throws {
    switch message {
    case .memory(let notice): try takeMemory(notice, descriptor)
    case .record:
      let sizes = given.withLock { $0.blocks.map { Int($0.notice.byteCount) } }
      guard let descriptor = descriptor?.take() else { throw Self.misplaced(message) }
      let record = try ArrivalRecord(descriptor, blockByteCounts: sizes)
      given.withLock { $0.record = record }
    case .faults(let threads):
      guard let descriptor = descriptor?.take() else { throw Self.misplaced(message) }
      let userfault = Userfault(adopting: descriptor)
      given.withLock { given in
        given.userfault = userfault
        given.threads = threads
      }
    case .resume(let recovery, let order): try resume(recovery, order.map(Int.init))
    case .link(let number, let peer, let isReadOnly):
      guard let descriptor = descriptor?.take() else { throw Self.misplaced(message) }
      if isReadOnly {
        let input = descriptor.release()
        given.withLock { $0.input = (input, number, peer) }
      } else {
        try begin(number, over: try ByteChannel(adopting: descriptor, peer: peer))
      }
    case .linkOutput:
      guard let output = descriptor?.take(), let input = given.withLock({ $0.input.take() }) else {
        throw Self.misplaced(message)
      }
      try begin(
        input.number,
        over: try ByteChannel(
          adoptingInput: OwnedDescriptor(adopting: input.descriptor), output: output,
          peer: input.peer))
    case .preempt(let link, let peer):
      guard let descriptor = descriptor?.take() else { throw Self.misplaced(message) }
      let channel = try ByteChannel(adopting: descriptor, peer: peer)
      // One of a link that is over closes itself.
      given.withLock { $0.preempt?.number == link ? $0.preempt?.reception : nil }?.take(channel)
    case .breakLink: given.withLock { $0.engine }?.breakLink()
    case .cancel: given.withLock { $0.engine }?.cancel()
    case .answer(let number, let answer): try calls.answer(number, answer)
    case .hello, .call, .status, .outcome: throw Self.misplaced(message)
    }
  }

  private static func misplaced(_ message: PagerMessage) -> PagerError {
    .protocolViolation("\(message) has no place here")
  }

  private func takeMemory(_ notice: MemoryNotice, _ descriptor: OwnedBox?) throws {
    let unit = UInt64(ArrivalRecord.pageByteCount)
    guard let descriptor = descriptor?.take(), notice.byteCount > 0,
      notice.byteCount <= UInt64(Int.max) / 2, notice.pageSize >= unit,
      notice.pageSize.nonzeroBitCount == 1, notice.byteCount % notice.pageSize == 0,
      notice.hostAddress % notice.pageSize == 0,
      !notice.hostAddress.addingReportingOverflow(notice.byteCount).overflow
    else { throw Self.misplaced(.memory(notice)) }
    let memory = try SharedMapping(
      descriptor, byteCount: Int(notice.byteCount), what: "the RAM block '\(notice.name)'")
    let leftHere =
      keepsMemory && knownContent != nil
      ? try HashedPages(
        memory: memory.duplicateDescriptor(), name: "The RAM block '\(notice.name)'") : nil
    // It takes a while, and the source may be on its way.
    leftHere?.prepare()
    given.withLock { given in
      given.blocks.append(PagedBlock(notice, memory))
      if let leftHere { given.leftHere.append(leftHere) }
    }
  }

  private var options: DestinationOptions {
    var options = DestinationOptions()
    options.takesPostcopy = true
    let leftHere = given.withLock { $0.leftHere }
    options.knownContent = knownContent.map { leftHere + $0 }
    options.statusObserver = { [control] status in try? control.send(.status(status)) }
    return options
  }

  /// Makes the endpoint of a machine that comes, or runs already.
  private func endpoint(order: [Int]? = nil) throws -> PagerEndpoint {
    let given = self.given.withLock { $0 }
    guard let record = given.record, let userfault = given.userfault, !given.blocks.isEmpty else {
      throw PagerError.protocolViolation("a link came before the machine's memory")
    }
    let faults = PageFaults(given.blocks, record, userfault, threads: given.threads)
    return PagerEndpoint(
      given.blocks, record, faults, calls, keepsMemory: keepsMemory, order: order)
  }

  private func resume(_ recovery: StreamDecoder.Recovery, _ order: [Int]) throws {
    let (blocks, record, engine) = given.withLock { ($0.blocks, $0.record, $0.engine) }
    guard engine == nil, let record, order.count == recovery.blocks.count,
      order.allSatisfy({ $0 < blocks.count }),
      zip(order, recovery.blocks).allSatisfy({ blocks[$0].notice.byteCount == $1.usedLength }),
      recovery.targetPageSize == ArrivalRecord.pageByteCount
    else { throw PagerError.protocolViolation("what is to be carried on is not this machine") }
    let interrupted = InterruptedPostcopy(
      recovery: recovery, pages: order.map { record.pages(ofBlock: $0) })
    let carried = try DestinationEngine(
      resuming: interrupted, endpoint: try endpoint(order: order), options: options)
    given.withLock { $0.engine = carried }
  }

  /// Receives over a link until it ends, on a thread of its own, and tells how it ended.
  private func begin(_ number: UInt32, over channel: ByteChannel) throws {
    let preempt = takesPreempt ? PreemptReception() : nil
    let known = given.withLock { given in
      given.preempt = preempt.map { (number, $0) }
      return given.engine
    }
    let engine =
      try known
      ?? DestinationEngine(channel: channel, endpoint: try endpoint(), options: options)
    given.withLock { $0.engine = engine }
    _ = try NamedThread(name: "migration") { [control] in
      let outcome: PagerOutcome
      do throws(MigrationError) {
        _ =
          try known == nil
          ? engine.run(preempt: preempt) : engine.resume(over: channel, preempt: preempt)
        outcome = .completed
      } catch .interrupted(let activity, let count, let cause) {
        outcome = .interrupted(
          "\(MigrationError.interrupted(during: activity, bytesReceived: count, cause: cause))")
      } catch {
        outcome = .failed("\(error)")
      }
      try? control.send(.outcome(link: number, outcome))
    }
  }
}

/// A descriptor on its way from the link to whoever keeps it.
final class OwnedBox: Sendable {
  private let descriptor: Mutex<OwnedDescriptor?>

  init(_ number: Int32) {
    descriptor = Mutex(OwnedDescriptor(adopting: number))
  }

  func take() -> OwnedDescriptor? { descriptor.withLock { $0.take() } }
}
