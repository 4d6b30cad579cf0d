// A virtio balloon: memory the guest gives back, and what it tells of the rest.

public import GuestMemory
import Synchronization
public import VMState

/// A virtio memory balloon with statistics, free-page hints and free-page reporting.
///
/// Pages that the guest puts into the balloon, or reports as free, are given back to the host at
/// once. Pages it hints at are only told to whoever listens, who need not copy them.
public final class VirtioBalloon: VirtioDevice {
  static let pageByteCount: UInt64 = 4096

  /// What travels, and what the driver's configuration space is made of.
  struct Extra: Sendable, Equatable {
    /// How many pages the balloon should hold.
    var targetPageCount: UInt32 = 0
    /// How many it holds, by the driver's word.
    var actualPageCount: UInt32 = 0
    /// What the driver is to do about free-page hints.
    var hintCommand: UInt32 = VirtioBalloon.hintsDone
    /// What the guest fills its free pages with; anything but zero keeps them from being given
    /// back.
    var poison: UInt32 = 0
    /// The command that the driver is hinting for; not part of what travels.
    var acceptedHintCommand: UInt32?
  }

  /// What is not the guest's.
  struct Control: Sendable {
    var statistics: BalloonStatistics?
    var statisticsTime: ContinuousClock.Instant?
    /// The available index whose report was read already.
    var readReport: UInt16?
    var pollInterval: Duration?
    var lastPoll = ContinuousClock.now
    var mayDiscard = true
    var hintListener: (@Sendable ([RAMRange]) -> Void)?
    /// Told when the guest has no more to name in this round.
    var hintEnd: (@Sendable () -> Void)?
    /// The last command that began a round of hints.
    var lastHintCommand = VirtioBalloon.firstHintCommand - 1
    var changeListener: (@Sendable (UInt64) -> Void)?
  }

  /// The name its state travels under.
  public let name = "virtio-balloon"
  let core: VirtioCore<Extra>
  let control = Mutex(Control())
  let thread: DeviceThread
  private let ramByteCount: UInt64
  private let deflatesOnOOM: Bool
  private let instance: Int

  /// Makes a balloon, empty.
  ///
  /// - Parameters:
  ///   - memory: the guest's memory, in which its queues are and from which it gives back.
  ///   - line: its interrupt.
  ///   - ramByteCount: how much memory the guest has with an empty balloon, in bytes.
  ///   - deflatesOnOOM: whether the guest may take pages back when it runs out of memory.
  ///   - instance: 0 for the machine's first balloon.
  public init(
    memory: AddressSpace, line: InterruptLine, ramByteCount: UInt64,
    deflatesOnOOM: Bool = true, instance: Int = 0
  ) throws(DeviceError) {
    self.ramByteCount = ramByteCount
    self.deflatesOnOOM = deflatesOnOOM
    self.instance = instance
    core = VirtioCore(
      memory: memory, line: line, queues: [128, 128, 128, 128, 128], extra: Extra())
    thread = try DeviceThread()
    try thread.start(name: "balloon") { [weak self] in self?.serve() }
  }

  deinit { thread.end() }

  /// Answers the guest's load from the registers or the configuration space.
  public func read(offset: UInt64, byteCount: Int) -> UInt64 {
    core.read(offset, byteCount: byteCount, self)
  }

  /// Takes the guest's store to the registers or the configuration space.
  public func write(offset: UInt64, byteCount: Int, value: UInt64) {
    let before = actualByteCount
    core.write(offset, byteCount: byteCount, value: value, self)
    let after = actualByteCount
    if after != before, let listener = control.withLock({ $0.changeListener }) {
      listener(after)
    }
  }

  /// Puts the device into its state of power-on.
  public func reset() {
    core.reset(self)
    control.withLock {
      $0.statistics = nil
      $0.readReport = nil
    }
  }

  /// Lets the device work; see `Device`.
  public func resume() {
    // Whoever wanted hints is not there any more after a move: the guest gets its pages back.
    let isAbandoned =
      core.withState { $0.extra.hintCommand != Self.hintsDone }
      && control.withLock { $0.hintListener == nil }
    core.refreshLine()
    if isAbandoned { finishHinting() }
    thread.release()
  }

  /// Brings the device to a stand; see `Device`.
  public func quiesce() { thread.hold() }

  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      VirtioState<Extra>.description(
        name: name, queueCount: Self.queueCount, offered: features,
        fields: [
          .uint32("num_pages", \.extra.targetPageCount),
          .uint32("actual", \.extra.actualPageCount),
          .uint32("free_page_hint_cmd_id", \.extra.hintCommand),
          .uint32("poison_val", \.extra.poison),
        ]),
      instance: UInt32(instance), blank: { self.core.blank }, capture: { self.core.capture() },
      apply: { state in
        var state = state
        state.extra.acceptedHintCommand = nil
        self.core.apply(state)
        self.control.withLock { $0.readReport = nil }
      })
  }

  // MARK: What the machine's owner asks for

  /// How much memory the guest has, in bytes: all of it but what is in the balloon.
  public var actualByteCount: UInt64 {
    let ballooned =
      UInt64(core.withState { $0.extra.actualPageCount }) * Self.pageByteCount
    return ramByteCount - min(ballooned, ramByteCount)
  }

  /// Asks the guest to make do with so many bytes; it gives up the rest as it can.
  public func setTarget(byteCount: UInt64) {
    let surplus = (ramByteCount - min(byteCount, ramByteCount)) / Self.pageByteCount
    core.changeConfiguration { $0.extra.targetPageCount = UInt32(clamping: surplus) }
  }

  /// Says whom to tell how much memory the guest has when that changes, in bytes; called on a
  /// vCPU's thread.
  public func onChange(_ listener: (@Sendable (UInt64) -> Void)?) {
    control.withLock { $0.changeListener = listener }
  }

  /// The guest's last report and how old it is; nil if there is none.
  public var statistics: (BalloonStatistics, age: Duration)? {
    control.withLock { control in
      guard let statistics = control.statistics, let time = control.statisticsTime else {
        return nil
      }
      return (statistics, ContinuousClock.now - time)
    }
  }

  /// Asks the guest for a report at that interval; nil asks no more.
  public func pollStatistics(every interval: Duration?) {
    control.withLock {
      $0.pollInterval = interval.map { max($0, .milliseconds(10)) }
      $0.lastPoll = .now
    }
    thread.kick()
  }

  /// How often the guest is asked for a report; nil for not at all.
  public var pollInterval: Duration? { control.withLock(\.pollInterval) }

  /// Says whether memory may be given back to the host; while pages still arrive from elsewhere,
  /// it must not.
  public func allowDiscarding(_ isAllowed: Bool) {
    control.withLock { $0.mayDiscard = isAllowed }
  }
}

extension VirtioBalloon: VirtioFunction {
  // Features, by the specification's names.
  static let hasStatistics: UInt64 = 1 << 1
  static let deflateOnOOM: UInt64 = 1 << 2
  static let pageHints: UInt64 = 1 << 3
  static let pagePoison: UInt64 = 1 << 4
  static let pageReporting: UInt64 = 1 << 5

  var deviceID: UInt32 { 5 }

  /// All the queues' features are offered always, so that every way of numbering queues comes out
  /// the same.
  var features: UInt64 {
    Self.hasStatistics | Self.pageHints | Self.pagePoison | Self.pageReporting
      | (deflatesOnOOM ? Self.deflateOnOOM : 0)
  }

  func configuration(_ state: VirtioState<Extra>) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(state.extra.targetPageCount)
    bytes.appendLittleEndian(state.extra.actualPageCount)
    bytes.appendLittleEndian(state.extra.hintCommand)
    bytes.appendLittleEndian(state.extra.poison)
    return bytes
  }

  func configure(offset: Int, bytes: [UInt8], _ state: inout VirtioState<Extra>) {
    guard bytes.count == 4 else { return }
    let value = bytes.littleEndian(UInt32.self, at: 0)
    switch offset {
    case 4: state.extra.actualPageCount = value
    case 12: state.extra.poison = value
    default: break
    }
  }

  func statusChanged(_ state: inout VirtioState<Extra>) {
    if state.registers.status == 0 { state.extra.acceptedHintCommand = nil }
  }

  func notified(queue: Int) { thread.kick() }
  func pauseWork() { thread.pause() }
  func resumeWork() { thread.unpause() }
}
