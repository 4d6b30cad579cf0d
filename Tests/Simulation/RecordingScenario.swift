// One save of a running machine in virtual time: a live source over a faulty link into our
// destination.

import MigrationCore
import Wire

/// A save under one seed.
public final class RecordingScenario {
  private let clock = VirtualClock()
  private let model: ModelMachine
  private let source: LiveSourceModel
  private let link: FaultyLink
  private let recorder: RecorderModel
  private var decoder: StreamDecoder
  private var returnPath = ReturnPathDecoder()
  private var sourceStatus: UInt32?
  private var isLost = false
  private var failure: (any Error)?

  /// The scenario of `seed`.
  public init(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    model = ModelMachine(seed: random.next())
    source = try LiveSourceModel(machine: model, seed: random.next())
    var faults = FaultyLink.Faults()
    faults.stalls = random.chance(10)
    switch random.below(6) {
    case 0: faults.cutAfterForwardBytes = random.below(source.stream.count + 1)
    case 1: faults.cutAfterTime = UInt64(random.below(1_000_000))
    case 2 where source.hasReturnPath: faults.cutAfterBackwardBytes = random.below(20)
    default: break
    }
    link = FaultyLink(clock: clock, seed: random.next(), faults: faults)
    recorder = RecorderModel(
      pageSize: model.targetPageSize, failsSealing: random.chance(5), expected: source.memory)
    decoder = StreamDecoder(options: .init(targetPageSize: model.targetPageSize))
  }

  /// Runs it to its end and says how it ended.
  /// - Throws: `Violation` if anything happened that must not.
  public func run() throws -> String {
    link.onForward = { [unowned self] in receive($0) }
    link.onBackward = { [unowned self] bytes in
      try bytes.withUnsafeBytes { raw in
        try returnPath.feed(raw.bytes) { if case .shut(let status) = $0 { sourceStatus = status } }
      }
    }
    link.onLoss = { [unowned self] in endOfInput() }
    var position = 0
    while position < source.stream.count {
      let end = min(source.stream.count, position + 3_000)
      let piece = Array(source.stream[position..<end])
      clock.after(UInt64(position * 10)) { [self] in link.send(piece, .forward) }
      position = end
    }
    clock.after(10_000_000_000) { [self] in
      // A source without return path closes once it has written everything.
      if link.isUp { link.cut() }
    }
    try clock.run(limit: 100_000)
    return try conclude()
  }

  private func receive(_ bytes: [UInt8]) {
    guard failure == nil, !recorder.isSealed else { return }
    do {
      try bytes.withUnsafeBytes { try decoder.feed($0.bytes, to: &recorder.visitor) }
    } catch {
      failure = error
      recorder.fail()
    }
    sendReplies()
  }

  private func endOfInput() {
    isLost = true
    guard failure == nil, !recorder.isSealed else { return }
    do {
      try decoder.finish(to: &recorder.visitor)
      try recorder.visitor.machine.onEndOfInput()
    } catch {
      failure = error
      recorder.fail()
    }
  }

  private func sendReplies() {
    for message in recorder.takeReplies() {
      var bytes: [UInt8] = []
      try? message.encode(into: &bytes)
      link.send(bytes, .backward)
    }
  }

  private func conclude() throws -> String {
    if recorder.isSealed {
      if let wrong = recorder.firstDifference() {
        throw Violation("a sealed machine with wrong content at \(wrong)")
      }
      guard recorder.deviceState == model.deviceState else {
        throw Violation("a sealed machine with other devices")
      }
    }
    if sourceStatus == 0, !recorder.isSealed {
      throw Violation("the source was told of a success that was none")
    }
    let isWhole = decoder.offset == UInt64(source.stream.count)
    if isWhole, !recorder.isSealed, !recorder.failsSealing {
      throw Violation("everything came and nothing was kept: \(failure.map { "\($0)" } ?? "?")")
    }
    if recorder.isSealed { return "kept" + (sourceStatus == 0 ? ", confirmed" : "") }
    if failure is RecorderModel.NoRoom {
      if sourceStatus == nil, source.hasReturnPath, link.isUp {
        throw Violation("the source was not told of the failure")
      }
      return "not kept: no room"
    }
    return "not kept: link lost"
  }
}

/// Keeps what a stream brings, for comparison.
final class RecorderModel {
  struct NoRoom: Error {}

  var visitor: Visitor
  let failsSealing: Bool
  private let expected: [RAMPageAddress: [UInt8]]

  init(pageSize: Int, failsSealing: Bool, expected: [RAMPageAddress: [UInt8]]) {
    self.failsSealing = failsSealing
    self.expected = expected
    visitor = Visitor(pageSize: pageSize, failsSealing: failsSealing)
  }

  var isSealed: Bool { visitor.machine.phase == .completed }
  var deviceState: DeviceState? { visitor.deviceState }

  func fail() {
    visitor.perform(visitor.machine.fail())
  }

  func takeReplies() -> [ReturnPathMessage] {
    defer { visitor.replies = [] }
    return visitor.replies
  }

  func firstDifference() -> RAMPageAddress? {
    let kept = visitor.memory.filter { $0.value.contains { $0 != 0 } }
    return Set(kept.keys).union(expected.keys).first { kept[$0] != expected[$0] }
  }

  struct Visitor: StreamVisitor {
    var machine = DestinationStateMachine()
    var memory: [RAMPageAddress: [UInt8]] = [:]
    var deviceState: DeviceState?
    var replies: [ReturnPathMessage] = []
    let pageSize: Int
    let failsSealing: Bool

    mutating func visit(_ event: StreamEvent) throws {
      for action in try machine.on(event) {
        switch action {
        case .seal:
          if failsSealing { throw NoRoom() }
          perform(machine.sealed())
        default: perform([action])
        }
      }
    }

    mutating func perform(_ actions: [DestinationStateMachine.Action]) {
      for action in actions {
        switch action {
        case .reply(let message): replies.append(message)
        case .takeDeviceState(let state): deviceState = state
        case .prepare, .seal, .advise, .discard, .run, .replyBitmap, .askAgain,
          .announceKnownPages:
          break
        }
      }
    }

    mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
      try machine.onPage(page)
      memory[page] = content.withUnsafeBytes { Array($0) }
    }

    mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
      try machine.onPage(page)
      memory[page] = nil
    }

    mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
      try machine.onPage(page)
      var content = memory[page] ?? [UInt8](repeating: 0, count: pageSize)
      try content.withUnsafeMutableBytes { raw in
        var span = raw.mutableBytes
        try XBZRLE.decode(xbzrle, onto: &span)
      }
      memory[page] = content
    }
  }
}
