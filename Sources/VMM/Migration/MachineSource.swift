// A stopped machine as what the sending engine takes its pages and its state from.

import GuestMemory
import MigrationEngine
import Wire

/// Gives a machine that stands still to the sending engine.
///
/// Memory is read while the engine runs, by several threads at once; nobody may change it then.
final class MachineSource: SourceEndpoint {
  /// The number under which `ram` travels; that of a checkpoint's source, so that a stream looks
  /// the same whoever sends it.
  static let ramSectionID: UInt32 = 2

  /// The unit of pages in the stream, in bytes.
  static let pageByteCount = 4096

  let configuration: StreamConfiguration
  let blocks: [RAMBlockDescription]
  let deviceState: DeviceState
  private let memory: [RAMBlock]

  var targetPageSize: Int { Self.pageByteCount }
  var ramSectionID: UInt32 { Self.ramSectionID }

  /// - Parameters:
  ///   - ram: the machine's memory.
  ///   - deviceState: the state of everything else, taken after the machine had stopped.
  init(_ ram: RAMList, _ deviceState: DeviceState) {
    memory = ram.blocks.filter(\.isMigratable)
    blocks = memory.map { block in
      RAMBlockDescription(name: block.name, usedLength: UInt64(block.byteCount))
    }
    self.deviceState = deviceState
    configuration = Self.configuration
  }

  /// What a stream says of the machine before anything else.
  static let configuration = StreamConfiguration(
    machine: Machine.typeName, targetPageBits: UInt32(pageByteCount.trailingZeroBitCount))

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    let block = memory[page.blockIndex]
    let offset = Int(page.offset)
    if try block.isZero(offset: offset, byteCount: byteCount) { return .zero }
    // SAFETY: the engine lends at least `byteCount` bytes for the call, all of which are written.
    let bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
    var room = unsafe MutableRawSpan(_unsafeBytes: bytes)
    try block.read(offset: offset, into: &room)
    return .data
  }
}
