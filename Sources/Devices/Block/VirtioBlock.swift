// A virtio disk over a raw image.

public import GuestMemory
public import VMState

/// A virtio block device: `/dev/vda` and its successors in a Linux guest.
///
/// Requests are carried out one after the other on a thread of the device's own, straight between
/// the image and the guest's memory.
public final class VirtioBlock: VirtioDevice {
  /// What a disk did since it was made, for `query-blockstats` and the curious.
  public struct Statistics: Equatable, Sendable {
    /// Bytes and requests read.
    public var readByteCount = 0, readCount = 0
    /// Bytes and requests written.
    public var writtenByteCount = 0, writeCount = 0
    /// Flushes.
    public var flushCount = 0
    /// Requests that failed.
    public var failureCount = 0
  }

  struct Extra: Sendable {
    var statistics = Statistics()
    /// A property of the disk: a state is only taken by one of the same size.
    var sectorCount: UInt64
  }

  // Features, by the specification's names.
  static let segmentLimit: UInt64 = 1 << 2
  static let readOnly: UInt64 = 1 << 5
  static let blockSize: UInt64 = 1 << 6
  static let flush: UInt64 = 1 << 9
  static let discard: UInt64 = 1 << 13
  static let writeZeroes: UInt64 = 1 << 14

  /// The name its state travels under.
  public let name = "virtio-blk"
  /// The image's path.
  public var path: String { file.path }
  /// Whether the guest may only read it.
  public var isReadOnly: Bool { file.isReadOnly }
  /// Its size in bytes.
  public var byteCount: UInt64 { file.sectorCount * UInt64(DiskFile.sectorByteCount) }
  /// How much of the host's disk its image takes, in bytes; nil where that cannot be told.
  public var occupiedByteCount: UInt64? { file.occupiedByteCount }
  /// What it did so far.
  public var statistics: Statistics { core.capture().extra.statistics }

  let core: VirtioCore<Extra>
  let file: DiskFile
  let serial: [UInt8]
  private let instance: Int
  private let thread: DeviceThread

  /// Opens an image and makes a disk of it.
  ///
  /// - Parameters:
  ///   - memory: the guest's memory, in which its queue is.
  ///   - line: its interrupt.
  ///   - path: a raw image: a file or block device of whole sectors.
  ///   - isReadOnly: whether the guest may only read it.
  ///   - serial: what the guest sees as its serial number; at most 20 bytes of it.
  ///   - instance: 0 for the machine's first disk, 1 for the next.
  public init(
    memory: AddressSpace, line: InterruptLine, path: String, isReadOnly: Bool = false,
    serial: String = "", instance: Int = 0
  ) throws(DeviceError) {
    file = try DiskFile(path: path, isReadOnly: isReadOnly)
    self.serial = Array(serial.utf8.prefix(20))
    self.instance = instance
    core = VirtioCore(
      memory: memory, line: line, queues: [VirtioLimits.queueSize],
      extra: Extra(sectorCount: file.sectorCount))
    thread = try DeviceThread()
    try thread.start(name: "disk\(instance)") { [weak self] in
      guard let self else { return nil }
      self.serve()
      return .kick
    }
  }

  deinit { thread.end() }

  /// Answers the guest's load from the registers or the configuration space.
  public func read(offset: UInt64, byteCount: Int) -> UInt64 {
    core.read(offset, byteCount: byteCount, self)
  }

  /// Takes the guest's store to the registers or the configuration space.
  public func write(offset: UInt64, byteCount: Int, value: UInt64) {
    core.write(offset, byteCount: byteCount, value: value, self)
  }

  /// Puts the device into its state of power-on.
  public func reset() { core.reset(self) }

  /// Lets the device work; see `Device`.
  public func resume() {
    core.refreshLine()
    thread.release()
  }

  /// Brings the disk to a stand, with all that was written on the host's disk; see `Device`.
  public func quiesce() {
    thread.hold()
    file.flushIfNeeded()
  }

  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      VirtioState<Extra>.description(
        name: name, queueCount: 1, offered: features,
        fields: [.equal("sectors", \.extra.sectorCount)]),
      instance: UInt32(instance), blank: { self.core.blank }, capture: { self.core.capture() },
      apply: { self.core.apply($0) })
  }

  /// Carries out what waits, until nothing does or somebody wants the thread to stand still.
  private func serve() {
    while !thread.shouldYield, let chain = core.take(0) {
      guard let written = carryOut(chain) else { return core.condemn(0) }
      core.finish(0, chain, written: written)
    }
  }
}

extension VirtioBlock: VirtioFunction {
  var deviceID: UInt32 { 2 }

  var features: UInt64 {
    var features = Self.segmentLimit | Self.blockSize | Self.flush
    if file.isReadOnly { return features | Self.readOnly }
    features |= Self.writeZeroes
    return file.canDiscard ? features | Self.discard : features
  }

  func configuration(_ state: VirtioState<Extra>) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(file.sectorCount)
    bytes.appendLittleEndian(0 as UInt32)  // largest segment: no limit of ours
    // Segments of one request: all of a queue but the request's header and its status.
    bytes.appendLittleEndian(UInt32(VirtioLimits.queueSize - 2))
    bytes.appendLittleEndian(0 as UInt32)  // cylinders, heads, sectors: not offered
    bytes.appendLittleEndian(UInt32(DiskFile.sectorByteCount))
    bytes += [UInt8](repeating: 0, count: 8)  // topology: not offered
    bytes += [1, 0]  // writes are cached until a flush
    bytes.appendLittleEndian(1 as UInt16)  // queues
    // Discard, then write-zeroes: sectors of one range, ranges of one request, alignment.
    bytes.appendLittleEndian(VirtioLimits.discardSectorCount)
    bytes.appendLittleEndian(UInt32(VirtioLimits.discardRangeCount))
    bytes.appendLittleEndian(8 as UInt32)
    bytes.appendLittleEndian(VirtioLimits.zeroSectorCount)
    bytes.appendLittleEndian(1 as UInt32)
    bytes += [file.canDiscard ? 1 : 0, 0, 0, 0]
    return bytes
  }

  func notified(queue: Int) { thread.kick() }
  func pauseWork() { thread.pause() }
  func resumeWork() { thread.unpause() }
}
