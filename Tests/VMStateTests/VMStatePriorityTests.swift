// The order of device states.

import Testing

@testable import VMState

struct VMStatePriorityTests {
  @Test func `a rank is not below itself`() {
    #expect(!(VMStatePriority.standard < .standard))
  }
}
