// Threads that can be parked: nothing happens while they are, and nothing is lost.

import Glibc
import Synchronization
import Testing

@testable import Devices

struct DeviceThreadTests {
  private final class Counter: Sendable {
    let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .acquiring) }
  }

  @Test func `it stands still until it is released, and remembers a kick`() throws {
    let counter = Counter()
    let thread = try DeviceThread()
    try thread.start(name: "test") {
      counter.count.add(1, ordering: .releasing)
      return .kick
    }
    defer { thread.end() }
    thread.kick()
    usleep(10_000)
    #expect(counter.value == 0)
    thread.release()
    eventually("a first step") { counter.value > 0 }
    thread.hold()
    let before = counter.value
    thread.kick()
    usleep(10_000)
    #expect(counter.value == before)
    thread.release()
    eventually("the step it was kicked for") { counter.value > before }
  }

  @Test func `pauses nest, also within a hold`() throws {
    let counter = Counter()
    let thread = try DeviceThread()
    try thread.start(name: "test") {
      counter.count.add(1, ordering: .releasing)
      return ThreadWait(timeout: .milliseconds(1))
    }
    defer { thread.end() }
    thread.release()
    thread.pause()
    thread.pause()
    thread.hold()
    thread.hold()
    let before = counter.value
    thread.unpause()
    thread.release()
    usleep(20_000)
    #expect(counter.value == before, "one pause is left")
    thread.unpause()
    eventually("steps again") { counter.value > before + 2 }
  }

  @Test func `a step under way is waited for`() throws {
    let isInside = Atomic<Bool>(false)
    let thread = try DeviceThread()
    try thread.start(name: "test") {
      isInside.store(true, ordering: .releasing)
      usleep(2000)
      isInside.store(false, ordering: .releasing)
      return ThreadWait(isBusy: true)
    }
    defer { thread.end() }
    for _ in 0..<20 {
      thread.release()
      usleep(1500)
      thread.hold()
      let isStillInside = isInside.load(ordering: .acquiring)
      #expect(!isStillInside)
    }
  }

  @Test func `a thread that ended holds nobody up`() throws {
    let thread = try DeviceThread()
    try thread.start(name: "test") { nil }
    thread.release()
    usleep(5000)
    thread.pause()
    thread.hold()
    thread.unpause()
  }
}
