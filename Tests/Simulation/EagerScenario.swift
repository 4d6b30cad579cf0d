// One eager restore in virtual time: everything first, then the machine runs.

import MigrationCore
import Wire

/// An eager restore under one seed.
public final class EagerScenario {
  private let clock = VirtualClock()
  private let model: ModelMachine
  private let link: FaultyLink
  private let destination: QEMUDestinationModel
  private let format: SourceFormat
  private let usesReturnPath: Bool
  private var source: PrecopySource
  private var decoder = ReturnPathDecoder()
  private var isLost = false

  /// The scenario of `seed`.
  public init(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    model = ModelMachine(seed: random.next())
    usesReturnPath = random.chance(50)
    format = SourceFormat(
      configuration: StreamConfiguration(machine: "pc-q35-10.0"), blocks: model.blocks,
      targetPageSize: model.targetPageSize, ramSectionID: model.ramSectionID,
      deviceState: model.deviceState, ordinaryPageSize: model.targetPageSize, isPostcopy: false)
    source = PrecopySource(
      blocks: format.blocks, usesReturnPath: usesReturnPath,
      rangeByteCount: model.targetPageSize * (1 + random.below(20)))
    destination = QEMUDestinationModel(machine: model, hasPostcopy: false)
    var faults = FaultyLink.Faults()
    let total = Int(model.blocks.reduce(0) { $0 + $1.usedLength }) + 400
    switch random.below(5) {
    case 0: faults.cutAfterForwardBytes = random.below(total)
    case 1: faults.cutAfterTime = UInt64(random.below(2_000_000))
    case 2: faults.cutAfterBackwardBytes = random.below(20)
    default: break
    }
    link = FaultyLink(clock: clock, seed: random.next(), faults: faults)
  }

  /// Runs it to its end and says how it ended.
  /// - Throws: `Violation` if anything happened that must not.
  public func run() throws -> String {
    link.onForward = { [unowned self] bytes in
      let answer = try destination.receive(bytes)
      if !answer.isEmpty { link.send(answer, .backward) }
    }
    link.onBackward = { [unowned self] bytes in
      try bytes.withUnsafeBytes { try decoder.feed($0.bytes) { try source.receive($0) } }
    }
    link.onLoss = { [unowned self] in
      isLost = true
      destination.linkLost()
    }
    try write()
    try clock.run(limit: 100_000)
    return try conclude()
  }

  private func write() throws {
    guard link.isUp else { return }
    var encoder = format.encoder()
    switch source.next() {
    case .write(let elements): try format.append(elements, to: &encoder)
    case .range(let blockIndex, let range):
      format.beginPart(&encoder)
      for offset in stride(from: range.lowerBound, to: range.upperBound, by: model.targetPageSize) {
        let page = RAMPageAddress(blockIndex: blockIndex, offset: offset)
        if let content = model.content(page) {
          try encoder.appendPageHeader(page)
          encoder.buffer += content
        } else {
          try encoder.appendZeroPage(page)
        }
      }
      format.endSection(&encoder)
    case .page: throw Violation("an eager source that hands out single pages")
    case .wait, .finish: return
    }
    link.send(encoder.buffer, .forward)
    clock.after(20_000) { [self] in try write() }
  }

  private func conclude() throws -> String {
    if destination.hasRun, let wrong = destination.firstWrongPage() {
      throw Violation("it runs with wrong content at block \(wrong.blockIndex) \(wrong.offset)")
    }
    if destination.hasRun, source.destinationRunState == .notStarted {
      throw Violation("two machines may run: the source knows of none")
    }
    if usesReturnPath, source.destinationRunState == .running, !destination.hasRun {
      throw Violation("no machine runs, and the source thinks one does")
    }
    if !isLost, destination.state != .completed {
      throw Violation("a sound link, and the destination is \(destination.state)")
    }
    return "eager \(destination.state)"
  }
}
