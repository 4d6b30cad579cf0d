// A model of QEMU's destination, written from the protocol's description and not from our own
// codec: it takes bytes, keeps memory, answers, and objects to everything that QEMU would object
// to. It has no clock and no socket.

import Wire

/// What a QEMU started with `-incoming` does with a migration stream.
public final class QEMUDestinationModel {
  /// Where the incoming migration stands.
  public enum State: Equatable {
    /// Loading; nothing runs.
    case incoming
    /// Pages may be asked for, the devices are being loaded.
    case listening
    /// The guest runs while pages are missing.
    case running
    /// The link broke while it ran.
    case paused
    /// A new link is up; the source asks what is missing.
    case recovering
    /// Everything is there and the guest runs.
    case completed
    /// The process has ended.
    case dead
  }

  /// Where the incoming migration stands.
  public internal(set) var state: State = .incoming
  /// Whether the guest ever ran.
  public internal(set) var hasRun = false
  /// Host pages that are there, by block and number, with their content.
  public internal(set) var memory: [[[UInt8]?]]
  /// Called when a host page became available.
  public var onPlaced: (_ block: Int, _ page: Int) -> Void = { _, _ in }
  /// Called when the guest begins to run, and when it goes on after a recovery.
  public var onRun: () -> Void = {}

  let machine: ModelMachine
  /// Whether the capability `postcopy-ram` is set.
  let hasPostcopy: Bool
  /// Whether the capability `postcopy-preempt` is set.
  public var takesPreempt = false
  var input: [UInt8] = []
  var position = 0
  var output: [UInt8] = []
  var phase = Phase.magic
  var ramSectionID: UInt32?
  var namedBlock: Int?
  var hasReturnPath = false
  var sawEnd = false
  var wasAdvised = false
  var discarded: [Set<Int>]
  var gathering: (block: Int, page: Int, bytes: [UInt8])?
  /// What is kept of the channel of requested pages, of which the same is kept as of the first.
  private var preempt = Preempt()
  /// Whether the stream has ended, and pages may still come over the other channel.
  var isEndReached = false
  /// Pages the guest waits for, in the order in which it asked.
  var waiting: [(block: Int, page: Int)] = []
  /// Host pages that came and that nobody waited for, in all.
  var unaskedCount = 0
  /// `unaskedCount` at the time of each request.
  var unaskedAtRequest: [RAMPageAddress: Int] = [:]
  /// How many pages that nobody waits for may come between a request and its page.
  public var unaskedLimit: Int?
  var lastRequestedBlock: Int?
  /// Pages that loading the devices touches, still to come.
  var loadTouches: [(block: Int, page: Int)]

  enum Phase: Equatable {
    case magic, configuration, element, setup, items(isEnd: Bool), footer(isEnd: Bool)
    case description, finished
  }

  /// A QEMU for `machine`; loading its devices touches the pages in `loadTouches`.
  public init(
    machine: ModelMachine, hasPostcopy: Bool, loadTouches: [RAMPageAddress] = []
  ) {
    self.machine = machine
    self.hasPostcopy = hasPostcopy
    memory = machine.blocks.indices.map { index in
      Array(
        repeating: nil, count: Int(machine.blocks[index].usedLength) / machine.hostPageSize(index))
    }
    discarded = machine.blocks.map { _ in [] }
    self.loadTouches = loadTouches.map {
      ($0.blockIndex, Int($0.offset) / machine.hostPageSize($0.blockIndex))
    }
  }

  /// Takes bytes of the main channel; gives those of the return path.
  public func receive(_ bytes: [UInt8]) throws -> [UInt8] {
    guard state != .dead else { return [] }
    input.append(contentsOf: bytes)
    do {
      while position < input.count {
        let start = position
        do {
          try step()
        } catch is NeedsMore {
          position = start
          break
        }
      }
    }
    if position > 1 << 16 {
      input.removeFirst(position)
      position = 0
    }
    return takeOutput()
  }

  private struct Preempt {
    var input: [UInt8] = []
    var position = 0
    var namedBlock: Int?
    var gathering: (block: Int, page: Int, bytes: [UInt8])?
  }

  /// Takes bytes of the channel of requested pages; gives those of the return path.
  public func receivePreempt(_ bytes: [UInt8]) throws -> [UInt8] {
    guard state != .dead else { return [] }
    guard state == .running || state == .listening else {
      throw Violation("a requested page while the destination is \(state)")
    }
    swapChannels()
    input.append(contentsOf: bytes)
    while position < input.count {
      let start = position
      do {
        try item(isEnd: nil)
      } catch is NeedsMore {
        position = start
        break
      }
    }
    input.removeFirst(position)
    position = 0
    swapChannels()
    if isEndReached { try completeIfWhole() }
    return takeOutput()
  }

  /// Makes the other channel the one that is read.
  private func swapChannels() {
    let other = preempt
    preempt = Preempt(
      input: input, position: position, namedBlock: namedBlock, gathering: gathering)
    input = other.input
    position = other.position
    namedBlock = other.namedBlock
    gathering = other.gathering
  }

  /// The link is gone.
  public func linkLost() {
    preempt = Preempt()
    isEndReached = false
    input = []
    position = 0
    output = []
    gathering = nil
    switch state {
    case .completed, .dead: break
    case .running, .recovering, .paused: state = .paused
    case .incoming, .listening: state = .dead
    }
  }

  /// A new link was accepted after `migrate-recover`.
  public func recover() throws {
    guard state == .paused else { throw Violation("a recovery of a QEMU that is \(state)") }
    state = .recovering
    phase = .element
    namedBlock = nil
    lastRequestedBlock = nil
  }

  /// The guest touches a page; asks for it if it is not there, and says whether it was.
  public func touch(block: Int, page: Int) -> (isThere: Bool, request: [UInt8]) {
    if memory[block][page] != nil { return (true, []) }
    if !waiting.contains(where: { $0 == (block, page) }) {
      waiting.append((block, page))
      if state == .running || state == .listening { request(block, page) }
    }
    return (false, takeOutput())
  }

  /// Whether every page of the machine is there with the right content, and says which is not.
  public func firstWrongPage() -> RAMPageAddress? {
    for address in machine.hostPages {
      let size = machine.hostPageSize(address.blockIndex)
      guard let bytes = memory[address.blockIndex][Int(address.offset) / size],
        bytes == Self.content(of: address, machine)
      else { return address }
    }
    return nil
  }

  /// What a host page has to hold.
  static func content(of address: RAMPageAddress, _ machine: ModelMachine) -> [UInt8] {
    var bytes: [UInt8] = []
    let size = machine.hostPageSize(address.blockIndex)
    for offset in stride(from: 0, to: size, by: machine.targetPageSize) {
      let page = RAMPageAddress(
        blockIndex: address.blockIndex, offset: address.offset + UInt64(offset))
      bytes += machine.content(page) ?? [UInt8](repeating: 0, count: machine.targetPageSize)
    }
    return bytes
  }

  func takeOutput() -> [UInt8] {
    defer { output = [] }
    return output
  }
}

/// An item is not whole yet.
struct NeedsMore: Error {}
