// What a machine and its pager say to each other.

internal import MigrationCore
internal import Wire

/// A block of the machine's memory, as the pager has to know it.
struct MemoryNotice: Equatable, Sendable {
  var name: String
  var byteCount: UInt64
  /// The size of the pages that back it, in bytes.
  var pageSize: UInt64
  /// Where it begins in the machine's address space.
  var hostAddress: UInt64
}

/// What the pager asks of the machine.
enum PagerCall: Equatable, Sendable {
  /// Check the machine that comes and empty memory; answered by the place of each block.
  case prepare(StreamConfiguration, [RAMBlockDescription])
  /// Read the devices' state and keep it until `complete`.
  case takeDeviceState(DeviceState)
  /// Give the devices their state: memory is whole.
  case complete
  /// From now on, memory that is not there is waited for.
  case beginServing(StreamDecoder.Recovery)
  /// Give the devices their state, before memory is there.
  case load(DeviceState)
  /// Let the machine run.
  case run
  /// Memory is ordinary again.
  case endServing
}

/// The answer to a call.
enum PagerAnswer: Equatable, Sendable {
  /// It is done; for `prepare`, which block of the machine each announced one is.
  case done([UInt32])
  /// It could not be done: a sentence.
  case refused(String)
}

/// How a link's life ended.
enum PagerOutcome: Equatable, Sendable {
  /// The machine is whole.
  case completed
  /// The link is gone and the machine goes on: a sentence.
  case interrupted(String)
  /// The machine will never run: a sentence.
  case failed(String)
}

/// A message of either side.
enum PagerMessage: Equatable, Sendable {
  /// The first one of each side: which version of this protocol it speaks.
  case hello(version: UInt32)

  // From the machine.

  /// A block of memory; its descriptor comes along.
  case memory(MemoryNotice)
  /// The record of what arrived; its descriptor comes along.
  case record
  /// The machine's userfaultfd comes along; the kernel's numbers of the processors' threads, in
  /// the processors' order.
  case faults(threads: [Int32])
  /// The machine runs already and waits for a link: where each announced block lies.
  case resume(StreamDecoder.Recovery, order: [UInt32])
  /// A connection to a source; its descriptor comes along, and a second for writing with another
  /// message where this one is for reading only. Its number comes back with its outcome.
  case link(number: UInt32, peer: String, isReadOnly: Bool)
  /// Where to write to the source; its descriptor comes along.
  case linkOutput
  /// The connection that a link's requested pages come over, with its descriptor.
  case preempt(link: UInt32, peer: String)
  /// End the connection to the source, as if that had.
  case breakLink
  /// Give up, unless the machine runs.
  case cancel
  /// The answer to a call.
  case answer(call: UInt32, PagerAnswer)

  // From the pager.

  /// Do something, and answer.
  case call(UInt32, PagerCall)
  /// The migration has got to a state.
  case status(MigrationStatus)
  /// The life of a link ended.
  case outcome(link: UInt32, PagerOutcome)

  /// The version that this build speaks.
  static let version: UInt32 = 2

  /// Whether a descriptor comes along.
  var carriesDescriptor: Bool {
    switch self {
    case .memory, .record, .faults, .link, .linkOutput, .preempt: true
    case .hello, .resume, .breakLink, .cancel, .answer, .call, .status, .outcome: false
    }
  }
}
