// A machine whose processors do not stop at once: what it is doing is known all the same.

import Dispatch
import Foundation
import MigrationCore
import Synchronization
import Testing

@testable import VMM

/// Processors that stop when they may.
private final class StubbornProcessors: Accelerator {
  let kind = AcceleratorKind.synthetic
  let processorCount = 1
  let threadIdentifiers: [Int32] = [1]
  let limitsDirtyRate = false
  let isStopping = DispatchSemaphore(value: 0)
  let mayStop = DispatchSemaphore(value: 0)

  func resume() {}

  func pause() {
    isStopping.signal()
    mayStop.wait()
  }

  func reset(to start: ProcessorStart) throws(MachineError) {}
  func throttle(_ throttle: Throttle?) {}
  func end() {}
}

@Suite(.timeLimit(.minutes(1))) struct MachineLifeTests {
  private let processors = StubbornProcessors()

  private func life() -> MachineLife {
    MachineLife(
      RunStateMachine(), accelerator: processors, requests: GuestRequests(), quiesce: { _ in })
  }

  @Test func `a machine that is being stopped runs, for whoever asks, until it has stopped`()
    throws
  {
    let life = life()
    #expect(life.seenRunState == .prelaunch)
    try life.apply(.launch)
    let hasStopped = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      try? life.apply(.stop)
      hasStopped.signal()
    }
    processors.isStopping.wait()
    #expect(life.seenRunState == .running)
    processors.mayStop.signal()
    hasStopped.wait()
    #expect(life.seenRunState == .paused)
    #expect(life.runState == .paused)
  }

  @Test func `whoever is told of a change and asks gets the state that belongs to it`() throws {
    let life = life()
    let told = Mutex<[String]>([])
    _ = life.observe { [weak life] event in
      let state = life?.seenRunState.rawValue ?? ""
      told.withLock { $0.append("\(event) \(state)") }
    }
    processors.mayStop.signal()
    for event in [RunEvent.launch, .stop, .cont] { try life.apply(event) }
    #expect(told.withLock { $0 } == ["resumed running", "stopped paused", "resumed running"])
  }
}
