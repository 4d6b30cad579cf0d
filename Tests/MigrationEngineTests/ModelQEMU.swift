// The simulation's model of a QEMU destination behind a real channel, on a thread of its own.

import MigrationEngine
import Simulation
import Synchronization
import Transport
import Wire

/// A QEMU that waits for a migration at one end of a channel.
final class ModelQEMU: @unchecked Sendable {
  /// Used by one thread at a time: the one that serves, or the test between two links.
  let model: QEMUDestinationModel
  private let machine: ModelMachine
  private let touches: Mutex<[RAMPageAddress]>
  private let problem = Mutex<String?>(nil)

  init(
    _ machine: ModelMachine, hasPostcopy: Bool = true, touches: [RAMPageAddress] = [],
    loadTouches: [RAMPageAddress] = []
  ) {
    self.machine = machine
    self.touches = Mutex(touches)
    model = QEMUDestinationModel(
      machine: machine, hasPostcopy: hasPostcopy, loadTouches: loadTouches)
  }

  /// What the model objected to.
  var violation: String? { problem.withLock { $0 } }

  /// Serves one link until it ends; `cutAfter` bytes it breaks it.
  func serve(_ channel: ByteChannel, cutAfter: Int = .max) throws -> NamedThread {
    try NamedThread(name: "model-qemu") { [self] in
      var received = 0
      do {
        while received < cutAfter {
          let bytes = try channel.read(atMost: min(4096, cutAfter - received))
          if bytes.isEmpty { break }
          received += bytes.count
          let answer = try model.receive(bytes)
          if !answer.isEmpty { try channel.write(answer) }
          try touch(channel)
        }
      } catch let violation as Violation {
        problem.withLock { $0 = violation.description }
      } catch {}
      channel.shutdownBoth()
      model.linkLost()
    }
  }

  /// The guest touches the next pages until one is missing.
  private func touch(_ channel: ByteChannel) throws {
    while model.state == .running, let page = touches.withLock({ $0.first }) {
      let size = Int(machine.blocks[page.blockIndex].pageSize ?? UInt64(machine.targetPageSize))
      let (isThere, request) = model.touch(
        block: page.blockIndex, page: Int(page.offset) / size)
      if !request.isEmpty { try channel.write(request) }
      guard isThere else { return }
      touches.withLock { _ = $0.removeFirst() }
    }
  }
}
