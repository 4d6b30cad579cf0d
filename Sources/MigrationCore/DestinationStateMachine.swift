// What the events of a stream mean to something that takes a machine and keeps it.
//
//   awaiting configuration ─▶ awaiting blocks ─▶ receiving pages ─▶ sealing ─▶ completed
//                                                       │              ▲
//                                                       └──▶ running ──┘
//                                                             │   ▲
//                                                  interrupted ◀─▶ recovering
//
// Live precopy, the precopy of a stopped machine and background snapshots all have the shape of
// the first line. A source that could go on to postcopy (ADVISE) is welcome as long as it does
// not; only what runs the machine follows it there.

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
    /// The machine runs, or is about to, and its pages come as it needs them, each once.
    case running
    /// The link broke while the machine ran.
    case interrupted
    /// A new link is up, over which the source learns what is missing.
    case recovering
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
    /// Get ready to run before all of memory is here, or refuse.
    case advise(PostcopyAdvice)
    /// Forget what came of these pages.
    case discard(block: String, [RAMDiscardRange])
    /// Serve faults from now on, load the devices, answer the ping, run; without keeping the
    /// pages waiting that are needed for it.
    case run(DeviceState, ping: UInt32?)
    /// Tell the source which pages of this block are here.
    case replyBitmap(block: String)
    /// Ask again for the pages that the machine waits for.
    case askAgain
    /// Tell the source what is held here, of at most `limit` pages, while all else goes on.
    case announceKnownPages(limit: UInt64)
  }

  /// A stream that this destination does not take.
  public struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// Why, and what to do about it: a sentence or two for a person.
    public let description: String

    /// A refusal for that reason.
    public init(description: String) { self.description = description }
  }

  /// What the destination is doing now.
  public private(set) var phase: Phase = .awaitingConfiguration
  /// Whether the source waits for messages on the same connection.
  public private(set) var hasReturnPath = false
  /// Whether the source announced that it might go on to postcopy.
  public private(set) var wasAdvised = false
  /// Whether the machine was handed over before its memory: a postcopy.
  public private(set) var wasSwitched = false
  /// How often the source has gone through memory: 1 from the first part on.
  public private(set) var passCount = 0

  private let sendsSwitchoverAcknowledgement: Bool
  private let runsMachine: Bool
  private var configuration: StreamConfiguration?
  private var lastBlockIndex = 0
  /// Whether the source asked, over this link, what is held here.
  private var wasAskedWhatIsKnown = false

  /// A destination that has received nothing.
  ///
  /// Set `sendsSwitchoverAcknowledgement` where both ends have the capability `switchover-ack`;
  /// any other source would take the message for a fault. Set `runsMachine` where the machine can
  /// run before all of its memory is here.
  public init(sendsSwitchoverAcknowledgement: Bool = false, runsMachine: Bool = false) {
    self.sendsSwitchoverAcknowledgement = sendsSwitchoverAcknowledgement
    self.runsMachine = runsMachine
  }

  /// A destination whose machine runs and whose link broke; ``relinked()`` carries on.
  public static func interrupted() -> DestinationStateMachine {
    var machine = DestinationStateMachine(runsMachine: true)
    machine.phase = .interrupted
    machine.hasReturnPath = true
    machine.wasAdvised = true
    machine.wasSwitched = true
    return machine
  }

  // MARK: Events

  /// Takes an event; carry out what it returns before the next one.
  public mutating func on(_ event: StreamEvent) throws(Refusal) -> [Action] {
    switch event {
    case .endOfStream where phase == .running:
      phase = .sealing
      return [.seal]
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
    if phase == .running { return }
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

  /// The link broke, or something failed that another link may put right.
  ///
  /// - Returns: whether the machine goes on, and waits for a new one.
  public mutating func linkLost() -> Bool {
    switch phase {
    case .sealing where wasSwitched, .running, .recovering, .interrupted:
      phase = .interrupted
      return true
    case .awaitingConfiguration, .awaitingBlocks, .receivingPages, .sealing, .completed, .failed:
      return false
    }
  }

  /// A new link is up after the old one broke.
  public mutating func relinked() {
    precondition(phase == .interrupted, "a new link for what was not interrupted")
    phase = .recovering
    wasAskedWhatIsKnown = false
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
    case .running: "receiving the memory of the running machine"
    case .interrupted: "waiting for a new link"
    case .recovering: "telling the source which pages are here"
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
    case .postcopyAdvise(let advice):
      guard !wasAdvised, [.awaitingConfiguration, .awaitingBlocks].contains(phase) else {
        throw refuse("POSTCOPY_ADVISE came while \(activity)")
      }
      wasAdvised = true
      return runsMachine ? advice.map { [.advise($0)] } ?? [] : []
    case .switchoverStart:
      return []
    case .askKnownPages(let limit):
      guard hasReturnPath, !wasAskedWhatIsKnown else {
        throw refuse(
          "the source asked which pages are held here "
            + (hasReturnPath ? "twice" : "without having opened the return path"))
      }
      wasAskedWhatIsKnown = true
      return [.announceKnownPages(limit: limit)]
    case .ramDiscard(let block, let ranges) where runsMachine:
      try requirePostcopy("RAM_DISCARD")
      return [.discard(block: block, ranges)]
    case .packaged(let blob) where runsMachine:
      return try onPackage(blob)
    case .receiveBitmap(let block) where phase == .recovering:
      return [.replyBitmap(block: block)]
    case .postcopyResume where phase == .recovering:
      phase = .running
      return [.reply(.resumeAcknowledge(1)), .askAgain]
    case .postcopyListen where runsMachine, .postcopyRun where runsMachine:
      throw refuse("the source sent LISTEN or RUN outside of a package")
    case .postcopyListen, .postcopyRun, .ramDiscard, .packaged:
      throw refuse(
        "the source switched over to postcopy, but what receives it here keeps the machine and "
          + "does not run it before it is whole; do not give migrate-start-postcopy, or turn "
          + "postcopy-ram off (a waiting machine that could run needs it on as well)")
    case .postcopyResume, .receiveBitmap:
      throw refuse(
        "the source wants to recover an interrupted postcopy, but nothing here was interrupted; "
          + "point it at the destination that it lost")
    case .enableCOLO:
      throw refuse(
        "the source begins a COLO session, which cannot be kept; turn the capability x-colo off")
    }
  }

  private mutating func onPackage(_ blob: [UInt8]) throws(Refusal) -> [Action] {
    try requirePostcopy("PACKAGED")
    let package: PackagedState
    do throws(WireError) {
      package = try PackagedState(parsing: blob)
    } catch {
      throw refuse("the package of the device state cannot be read (\(error))")
    }
    phase = .running
    wasSwitched = true
    return [
      .run(DeviceState(bytes: package.deviceBytes, description: nil), ping: package.ping)
    ]
  }

  /// Refuses what belongs to a postcopy where none was announced, or at another time.
  private func requirePostcopy(_ command: String) throws(Refusal) {
    guard wasAdvised, hasReturnPath, phase == .receivingPages else {
      throw refuse(
        "\(command) came while \(activity), where a postcopy needs POSTCOPY_ADVISE and a return "
          + "path before it")
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
