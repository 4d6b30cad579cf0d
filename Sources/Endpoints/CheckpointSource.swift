// A checkpoint as a source: a stopped machine whose memory lies in the store.

import CheckpointStore
import MigrationCore
import MigrationEngine
import Wire

/// Gives a checkpoint to the source engine.
///
/// Reads are safe from several threads at once.
final class CheckpointSource: SourceEndpoint {
  /// The number under which `ram` travels.
  ///
  /// Any will do, but a recovery after Godwit itself was killed must use the one of the first
  /// connection, so it never varies.
  static let ramSectionID: UInt32 = 2

  let checkpoint: Checkpoint
  let configuration: StreamConfiguration
  let blocks: [RAMBlockDescription]
  let targetPageSize: Int
  let deviceState: DeviceState
  let demandOrder: DemandOrder
  let omittedBlocks: Set<Int>

  var ramSectionID: UInt32 { Self.ramSectionID }

  /// - Parameters:
  ///   - checkpoint: what to give.
  ///   - pageSizes: the destination's page size for blocks by name, where it is known.
  ///   - omitted: names of blocks whose content the destination has already.
  init(
    _ checkpoint: Checkpoint, pageSizes: [String: UInt64] = [:], omitted: Set<String> = []
  ) throws(MoveError) {
    guard let configuration = StreamConfiguration(storedBytes: checkpoint.state.configuration)
    else {
      throw MoveError(
        .failed, "The configuration in checkpoint '\(checkpoint.info.name)' is unreadable.")
    }
    self.checkpoint = checkpoint
    self.configuration = configuration
    blocks = checkpoint.blocks.map {
      RAMBlockDescription(
        name: $0.name, usedLength: $0.byteCount, pageSize: pageSizes[$0.name])
    }
    targetPageSize = Int(checkpoint.state.targetPageSize)
    deviceState = DeviceState(
      bytes: checkpoint.state.deviceState, description: checkpoint.state.vmDescription)
    demandOrder = DemandOrder(checkpoint.demandRecord)
    omittedBlocks = Set(
      checkpoint.blocks.indices.filter { omitted.contains(checkpoint.blocks[$0].name) })
  }

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    // SAFETY: the engine lends the buffer for the call, and it is at least `byteCount` long.
    let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
    let kind = try unsafe checkpoint.read(block: page.blockIndex, offset: page.offset, into: target)
    return kind == .zero ? .zero : .data
  }

  func makeGroupReader() -> (any PageGroupReading)? {
    (try? PageGroupReader(checkpoint)).map { CheckpointGroups($0) }
  }

  func isKnownZero(_ page: RAMPageAddress, byteCount: Int) -> Bool {
    var offset = page.offset
    let end = page.offset + UInt64(byteCount)
    while offset < end {
      guard
        (try? checkpoint.pageKind(block: page.blockIndex, offset: offset)) == .zero
      else { return false }
      offset += UInt64(storePageSize)
    }
    return true
  }
}

/// Groups of a checkpoint's pages.
private struct CheckpointGroups: PageGroupReading {
  private let reader: PageGroupReader

  init(_ reader: PageGroupReader) { self.reader = reader }

  func read(
    _ pages: [RAMPageAddress], byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) -> [PageContent?] {
    guard byteCount == storePageSize else { return pages.map { _ in nil } }
    let places = pages.map { (block: $0.blockIndex, offset: $0.offset) }
    // SAFETY: the engine lends the buffer for the call: a page's room for each page.
    var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
    return reader.read(places, into: &span).map { kind in
      kind.map { $0 == .zero ? .zero : .data }
    }
  }
}
