// The guest in a simulation: some vCPUs that touch memory, one page after another, and stand
// still where it is missing.

import Wire

/// A guest that runs on a destination's memory.
final class ModelGuest {
  private struct Processor {
    var position: Int
    var touchesLeft: Int
    var waitsFor: (block: Int, page: Int)?
    var isSequential: Bool
    var isScheduled = false
  }

  private let destination: QEMUDestinationModel
  private let clock: VirtualClock
  private let pages: [RAMPageAddress]
  private let send: ([UInt8]) -> Void
  private var random: SeededRandom
  private var processors: [Processor]

  init(
    destination: QEMUDestinationModel, clock: VirtualClock, pages: [RAMPageAddress], seed: UInt64,
    send: @escaping ([UInt8]) -> Void
  ) {
    self.destination = destination
    self.clock = clock
    self.pages = pages
    self.send = send
    var random = SeededRandom(seed: seed)
    processors = (0..<(1 + random.below(4))).map { _ in
      Processor(
        position: random.below(pages.count), touchesLeft: random.below(30),
        isSequential: random.chance(50))
    }
    self.random = random
  }

  /// Whether every processor has done all it wanted.
  var isDone: Bool { processors.allSatisfy { $0.touchesLeft == 0 && $0.waitsFor == nil } }

  /// The guest runs, or runs on.
  func resume() {
    for index in processors.indices where processors[index].waitsFor == nil { schedule(index) }
  }

  /// A page came.
  func placed(block: Int, page: Int) {
    for index in processors.indices {
      guard let wanted = processors[index].waitsFor, wanted == (block, page) else { continue }
      processors[index].waitsFor = nil
      schedule(index)
    }
  }

  private func schedule(_ index: Int) {
    guard processors[index].touchesLeft > 0, !processors[index].isScheduled else { return }
    processors[index].isScheduled = true
    clock.after(UInt64(100 + random.below(200_000))) { [self] in
      processors[index].isScheduled = false
      touch(index)
    }
  }

  private func touch(_ index: Int) {
    processors[index].touchesLeft -= 1
    let next =
      processors[index].isSequential ? processors[index].position + 1 : random.below(pages.count)
    processors[index].position = next % pages.count
    let address = pages[processors[index].position]
    let page = Int(address.offset) / destination.machine.hostPageSize(address.blockIndex)
    let (isThere, request) = destination.touch(block: address.blockIndex, page: page)
    if isThere {
      schedule(index)
    } else {
      processors[index].waitsFor = (address.blockIndex, page)
      if !request.isEmpty { send(request) }
    }
  }
}
