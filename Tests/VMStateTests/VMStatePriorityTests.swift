// VMStatePriorityTests.swift: the order of device states.

import Testing

@testable import VMState

@Suite struct VMStatePriorityTests {
  @Test func `what others send to comes before them`() {
    let order: [VMStatePriority] = [.processor, .platform, .device, .last]
    #expect(order == order.sorted(by: >))
  }
}
