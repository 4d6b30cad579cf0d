// VMStatePriorityTests.swift: the order of device states.

import Testing

@testable import VMState

@Suite struct VMStatePriorityTests {
  @Test func `what others build upon comes before them`() {
    let order: [VMStatePriority] = [.platform, .processor, .device, .last]
    #expect(order == order.sorted(by: >))
  }
}
