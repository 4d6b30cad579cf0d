// A checkpoint being recorded: the destination endpoint that every save and receive ends in.

import CheckpointStore
import MigrationEngine
import Synchronization
import Wire

/// What a recording left behind, for the thread that waits for it.
final class RecordingOutcome: Sendable {
  private let sealed = Mutex<CheckpointSummary?>(nil)

  /// What the checkpoint cost; nil unless it was sealed.
  var summary: CheckpointSummary? { sealed.withLock { $0 } }

  fileprivate func set(_ summary: CheckpointSummary) { sealed.withLock { $0 = summary } }
}

/// Records a migration stream as a checkpoint: pages as they come, the last one of each winning;
/// the device state verbatim; all of it listed only when it is whole.
///
/// Used by the engine's thread alone until `run()` has returned.
final class CheckpointRecorder: DestinationEndpoint {
  /// What the recorder is told about the machine from outside the stream.
  struct Origin: Sendable {
    var qemuVersion = ""
    var architecture = ""
    /// In bytes, for streams that do not tell it themselves.
    var targetPageSize = 4096
    var metadata = CheckpointMetadata()
  }

  private let writer: CheckpointWriter
  private let origin: Origin
  private var configuration: StreamConfiguration?
  private var targetPageSize: Int
  private var deviceState: DeviceState?
  private let outcome: RecordingOutcome

  init(writer: CheckpointWriter, origin: Origin, outcome: RecordingOutcome) {
    self.writer = writer
    self.origin = origin
    targetPageSize = origin.targetPageSize
    self.outcome = outcome
  }

  // A recording that was not sealed leaves nothing; after a seal this does nothing.
  deinit { writer.abandon() }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {
    if let capability = configuration.capabilities?.first {
      throw MoveError(
        .refused,
        "The source sends with the capability \(capability), which keeps memory out of the "
          + "stream: a checkpoint of it would be empty. Turn it off at the source.")
    }
    if let bits = configuration.targetPageBits { targetPageSize = 1 << Int(bits) }
    guard targetPageSize.isMultiple(of: storePageSize) else {
      throw MoveError(
        .refused,
        "The guest has pages of \(targetPageSize) bytes; the store takes pages of "
          + "\(storePageSize) bytes and multiples of it.")
    }
    try writer.prepare(blocks: blocks.map(Self.storable))
    self.configuration = configuration
  }

  private static func storable(_ block: RAMBlockDescription) throws(MoveError) -> CheckpointBlock {
    guard block.usedLength.isMultiple(of: UInt64(storePageSize)) else {
      throw MoveError(
        .refused,
        "RAM block \(block.name) has \(block.usedLength) bytes; the store takes whole pages of "
          + "\(storePageSize) bytes.")
    }
    return CheckpointBlock(
      name: block.name, byteCount: block.usedLength,
      pageSize: block.pageSize ?? UInt64(storePageSize))
  }

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    try writer.put(block: page.blockIndex, offset: page.offset, content: content)
  }

  func placeZero(_ page: RAMPageAddress) throws {
    try writer.putZero(
      block: page.blockIndex, offset: page.offset, byteCount: targetPageSize)
  }

  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {
    try writer.read(block: page.blockIndex, offset: page.offset, into: &buffer)
  }

  func takeDeviceState(_ state: DeviceState) throws { deviceState = state }

  func complete() throws {
    guard let configuration, let deviceState else {
      throw MoveError(
        .failed, "The stream ended without its configuration or its device state.")
    }
    let summary = try writer.seal(
      CheckpointState(
        machine: configuration.machine, qemuVersion: origin.qemuVersion,
        architecture: origin.architecture, targetPageSize: UInt64(targetPageSize),
        ramSectionID: CheckpointSource.ramSectionID, configuration: configuration.storedBytes,
        deviceState: deviceState.bytes, vmDescription: deviceState.description,
        metadata: origin.metadata.encoded))
    outcome.set(summary)
  }
}
