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

  /// Whether the page is known, without reading it, to hold zeros only. Such pages go last.
  func isKnownZero(_ page: RAMPageAddress, byteCount: Int) -> Bool
}

extension SourceEndpoint {
  /// Nothing was restored yet.
  public var demandOrder: DemandOrder { DemandOrder() }

  /// Every block is sent.
  public var omittedBlocks: Set<Int> { [] }

  /// Nothing is known.
  public func isKnownZero(_ page: RAMPageAddress, byteCount: Int) -> Bool { false }
}
