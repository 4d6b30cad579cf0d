// Inspecting: a stream file read once from its beginning to its end, or a checkpoint as it lies.

public import CheckpointStore
import Transport
import Wire

extension Inspection {
  /// Reads a file that holds a migration stream.
  ///
  /// Memory does not grow with the file beyond eight bytes for each page with content, up to
  /// 128 MiB. Blocks the calling thread.
  /// - Parameters:
  ///   - path: the file.
  ///   - progress: called after each mebibyte with the number of bytes read so far.
  /// - Throws: ``MoveError`` with the offset at which the file stops being a stream, or
  ///   `TransportError`.
  public init(
    ofStreamAt path: String, progress: (UInt64) -> Void = { _ in }
  ) throws {
    let channel = try ByteChannel.connect(to: .file(path: path, offset: 0), for: .reading)
    var decoder = StreamDecoder()
    var visitor = InspectionVisitor()
    do {
      while case let bytes = try channel.read(atMost: 1 << 20), !bytes.isEmpty {
        // SAFETY: every byte of the array is initialised.
        try decoder.feed(unsafe bytes.span.bytes, to: &visitor)
        progress(decoder.offset)
      }
      try decoder.finish(to: &visitor)
    } catch let error as WireError {
      throw MoveError(.failed, "\(path) is not a whole migration stream. \(error)")
    }
    try self.init(visitor, path: path, byteCount: decoder.offset)
  }

  private init(_ visitor: InspectionVisitor, path: String, byteCount: UInt64) throws {
    origin = .stream(path: path, byteCount: byteCount)
    configuration = visitor.configuration ?? StreamConfiguration(machine: "")
    targetPageSize = visitor.targetPageSize
    pages = .stream(visitor.pages)
    let counts = visitor.pages.counts(byteCounts: visitor.blocks.map(\.usedLength))
    blocks = visitor.blocks.enumerated().map { index, block in
      InspectedBlock(name: block.name, byteCount: block.usedLength, pages: counts?[index])
    }
    parts = visitor.parts(streamByteCount: byteCount)
    let state = DeviceState(
      bytes: visitor.earlyState
        + (visitor.deviceState?.bytes ?? visitor.package?.deviceBytes ?? []),
      description: visitor.description ?? visitor.deviceState?.description,
      usesFooters: visitor.deviceState?.usesFooters ?? true)
    var notes: [String] = []
    do {
      devices = try state.sections()
    } catch {
      devices = []
      notes.append("The devices cannot be told apart: \(error)")
    }
    if visitor.pages.isOverfull {
      notes.append("There are more pages with content than are counted.")
    }
    if visitor.deltaCount > 0 {
      notes.append(
        "\(visitor.deltaCount) times a page came as a difference (XBZRLE); such a page is counted "
          + "by its differences, so a page that became zero or like another is not recognised.")
    }
    if visitor.package != nil {
      notes.append("A postcopy's device state has no description, so its fields are not known.")
    }
    self.notes = notes
  }

  /// Looks into a checkpoint.
  /// - Throws: `StoreError`; `WireError` where the device state is not what QEMU writes.
  public init(of checkpoint: Checkpoint) throws {
    origin = .checkpoint(name: checkpoint.info.name)
    configuration =
      StreamConfiguration(storedBytes: checkpoint.state.configuration)
      ?? StreamConfiguration(machine: checkpoint.state.machine)
    targetPageSize = Int(clamping: checkpoint.state.targetPageSize)
    pages = .checkpoint(checkpoint)
    blocks = try checkpoint.blocks.enumerated().map { index, block in
      let statistics = try checkpoint.pageStatistics(block: index)
      return InspectedBlock(
        name: block.name, byteCount: block.byteCount,
        pages: InspectedPageCounts(
          zero: statistics.zero, unique: statistics.unique, shared: statistics.shared))
    }
    parts = []
    notes = []
    devices = try DeviceState(
      bytes: checkpoint.state.deviceState, description: checkpoint.state.vmDescription
    ).sections()
  }
}
