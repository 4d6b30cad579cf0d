// What the events of a stream mean to something that takes a machine and keeps it.
//
//   awaiting configuration ─▶ awaiting blocks ─▶ receiving pages ─▶ sealing ─▶ completed
//
// Live precopy, the precopy of a stopped machine and background snapshots all have this shape. A
// source that could go on to postcopy (ADVISE) is welcome as long as it does not.

public import Wire

/// Decides what a destination does about each event of its source's stream.
public struct DestinationStateMachine: Sendable {
  /// What the destination is doing.
  public enum Phase: Sendable, Equatable {
    /// The stream has not said which machine it is about.
    case awaitingConfiguration
    /// The RAM blocks were not announced.
    case awaitingBlocks
    /// Pages come, any number of times each.
    case receivingPages
    /// The device state is here, so all pages were.
    case sealing
    /// The machine is kept.
    case completed
    /// The stream was refused, or something failed.
    case failed
  }

  /// What is to be done, in this order.
  public enum Action: Sendable, Equatable {
    /// Send this over the return path.
    case reply(ReturnPathMessage)
    /// Prepare for a machine; refuse a mismatch by throwing.
    case prepare(StreamConfiguration, [RAMBlockDescription])
    /// Keep the device state.
    case takeDeviceState(DeviceState)
    /// Make everything durable; report success by `sealed()`.
    case seal
  }

  /// A stream that this destination does not take.
  public struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// Why, and what to do about it: a sentence or two for a person.
    public let description: String
  }

  /// What the destination is doing now.
  public private(set) var phase: Phase = .awaitingConfiguration
  /// Whether the source waits for messages on the same connection.
  public private(set) var hasReturnPath = false
  /// Whether the source announced that it might go on to postcopy.
  public private(set) var wasAdvised = false
  /// How often the source has gone through memory: 1 from the first part on.
  public private(set) var passCount = 0

  private let sendsSwitchoverAcknowledgement: Bool
  private var configuration: StreamConfiguration?
  private var lastBlockIndex = 0

  /// A destination that has received nothing.
  ///
  /// Set `sendsSwitchoverAcknowledgement` where both ends have the capability `switchover-ack`;
  /// any other source would take the message for a fault.
  public init(sendsSwitchoverAcknowledgement: Bool = false) {
    self.sendsSwitchoverAcknowledgement = sendsSwitchoverAcknowledgement
  }

  // MARK: Events

  /// Takes an event; carry out what it returns before the next one.
  public mutating func on(_ event: StreamEvent) throws(Refusal) -> [Action] {
    switch event {
    case .header, .multifdFlush, .ramEndOfSection, .sectionPart, .sectionEnd, .endOfStream,
      .vmDescription:
      return []
    case .configuration(let value):
      try require(.awaitingConfiguration, "a second configuration section")
      configuration = value
      phase = .awaitingBlocks
      return []
    case .command(let command):
      return try on(command)
    case .sectionStart(let header):
      try checkSection(header)
      return []
    case .ramBlocks(let blocks):
      return try onBlocks(blocks)
    case .deviceState(let state):
      try require(.receivingPages, "the state of the devices")
      phase = .sealing
      return [.takeDeviceState(state), .seal]
    case .earlyDeviceState:
      throw refuse(
        "the source sends the state of a device before its memory (virtio-mem does), which cannot "
          + "be kept yet; remove that device, or use an older machine type")
    case .opaqueSection, .dirtyBitmapChunk:
      return []  // Refused where the section starts.
    }
  }

  /// Takes note of a page; throws where no page can come.
  public mutating func onPage(_ page: RAMPageAddress) throws(Refusal) {
    guard phase == .receivingPages else {
      throw refuse("a page came while \(activity)")
    }
    // Sources walk through the blocks in their order; a step back begins a new pass.
    if passCount == 0 || page.blockIndex < lastBlockIndex { passCount += 1 }
    lastBlockIndex = page.blockIndex
  }

  /// Everything is durable: the last message to the source.
  public mutating func sealed() -> [Action] {
    precondition(phase == .sealing, "sealed without having been asked to")
    phase = .completed
    return hasReturnPath ? [.reply(.shut(status: 0))] : []
  }

  /// Something failed, here or in the stream: what to tell the source, if it listens.
  public mutating func fail() -> [Action] {
    guard phase != .completed, phase != .failed else { return [] }
    phase = .failed
    return hasReturnPath ? [.reply(.shut(status: 1))] : []
  }

  /// The source's bytes ended, and the decoder found them complete.
  public mutating func onEndOfInput() throws(Refusal) {
    guard phase == .sealing || phase == .completed else {
      throw refuse("the stream ended while \(activity)")
    }
  }

  /// What is being done, for an error's sentence.
  public var activity: String {
    switch phase {
    case .awaitingConfiguration: "waiting for the configuration of the machine"
    case .awaitingBlocks: "waiting for the list of RAM blocks"
    case .receivingPages: "receiving memory"
    case .sealing: "making the machine durable"
    case .completed: "closing the link"
    case .failed: "ending a failed migration"
    }
  }

  // MARK: Parts

  private mutating func on(_ command: VMCommand) throws(Refusal) -> [Action] {
    switch command {
    case .openReturnPath:
      guard !hasReturnPath else { throw refuse("the source opened the return path twice") }
      hasReturnPath = true
      return sendsSwitchoverAcknowledgement ? [.reply(.switchoverAcknowledge)] : []
    case .ping(let value):
      guard hasReturnPath else {
        throw refuse("the source sent PING without having opened the return path")
      }
      return [.reply(.pong(value))]
    case .postcopyAdvise:
      guard !wasAdvised, phase != .receivingPages, phase != .sealing else {
        throw refuse("POSTCOPY_ADVISE came while \(activity)")
      }
      wasAdvised = true
      return []
    case .switchoverStart:
      return []
    case .postcopyListen, .postcopyRun, .ramDiscard, .packaged:
      throw refuse(
        "the source switched over to postcopy, but what receives it here keeps the machine and "
          + "does not run it; do not give migrate-start-postcopy, or turn postcopy-ram off")
    case .postcopyResume, .receiveBitmap:
      throw refuse(
        "the source wants to recover an interrupted postcopy, but nothing here was interrupted; "
          + "point it at the destination that it lost")
    case .enableCOLO:
      throw refuse(
        "the source begins a COLO session, which cannot be kept; turn the capability x-colo off")
    }
  }

  private mutating func onBlocks(_ blocks: [RAMBlockDescription]) throws(Refusal) -> [Action] {
    guard phase == .awaitingBlocks, let configuration else {
      throw refuse("a list of RAM blocks came while \(activity)")
    }
    phase = .receivingPages
    return [.prepare(configuration, blocks)]
  }

  private func checkSection(_ header: SectionHeader) throws(Refusal) {
    guard header.name != "ram" else { return }
    throw refuse(
      "the source sends '\(header.name)' in parts while it runs, and only memory can be kept that "
        + "way; detach the device, or turn off the capability that sends it")
  }

  private func require(_ wanted: Phase, _ what: String) throws(Refusal) {
    guard phase == wanted else { throw refuse("\(what) came while \(activity)") }
  }

  private func refuse(_ reason: String) -> Refusal {
    Refusal(description: reason.prefix(1).uppercased() + reason.dropFirst() + ".")
  }
}
