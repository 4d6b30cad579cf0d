// What gives a machine: a checkpoint, a file, a stopped machine. The source engine calls it and
// knows nothing else of it.

public import MigrationCore
public import Wire

/// What a page that is to be sent holds.
public enum PageContent: Sendable, Equatable {
  /// Zeros only; the caller's buffer was left alone.
  case zero
  /// The bytes now in the caller's buffer.
  case data
}

/// A stopped machine that can be moved to a destination.
///
/// `read` and `isKnownZero` are called by several threads at once; everything else is read once,
/// when the engine is made, and must not change.
public protocol SourceEndpoint: AnyObject, Sendable {
  /// The configuration section: the machine type and what goes with it.
  var configuration: StreamConfiguration { get }

  /// The RAM blocks in the order of the stream. `pageSize` is the **destination's** page size for
  /// the block; without one, the target's page size counts.
  var blocks: [RAMBlockDescription] { get }

  /// The guest's page size in bytes, the unit of pages in the stream.
  var targetPageSize: Int { get }

  /// The section id that the RAM section travels under; any value, but the same one after a
  /// recovery as before it.
  var ramSectionID: UInt32 { get }

  /// The state of the devices.
  var deviceState: DeviceState { get }

  /// What earlier restores from here teach about the order of need.
  var demandOrder: DemandOrder { get }

  /// Indices of blocks that are announced and never sent, because the destination has their
  /// content (clones that share memory).
  var omittedBlocks: Set<Int> { get }

  /// Reads `byteCount` bytes of memory, a whole number of target pages inside one block, that
  /// begin at `page`.
  ///
  /// A throw means that this content is damaged: it is never sent, and the guest is left waiting
  /// for it rather than given something else.
  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent

  /// Something that reads several pages for less than they cost one by one; nil where there is no
  /// such thing. Each thread that sends asks for its own.
  func makeGroupReader() -> (any PageGroupReading)?

  /// Whether the page is known, without reading it, to hold zeros only. Such pages go last.
  func isKnownZero(_ page: RAMPageAddress, byteCount: Int) -> Bool
}

/// Reads pages of one endpoint in groups; one thread at a time uses one.
public protocol PageGroupReading {
  /// Reads pages of `byteCount` bytes each, one behind the other.
  ///
  /// - Returns: for each page what it holds; nil where it has to be read alone, by
  ///   `SourceEndpoint.read`, which tells what is wrong if anything is.
  func read(
    _ pages: [RAMPageAddress], byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) -> [PageContent?]
}

extension SourceEndpoint {
  /// Nothing was restored yet.
  public var demandOrder: DemandOrder { DemandOrder() }

  /// Every block is sent.
  public var omittedBlocks: Set<Int> { [] }

  /// Pages are read one by one.
  public func makeGroupReader() -> (any PageGroupReading)? { nil }

  /// Nothing is known.
  public func isKnownZero(_ page: RAMPageAddress, byteCount: Int) -> Bool { false }
}
