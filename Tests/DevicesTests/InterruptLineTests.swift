// Interrupt lines.

import Testing

@testable import Devices

struct InterruptLineTests {
  @Test func `a line passes its level on`() {
    InterruptLine { #expect($0) }.set(true)
  }
}
