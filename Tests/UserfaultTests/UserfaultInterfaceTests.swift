// What the module speaks.

import Testing

@testable import Userfault

struct UserfaultInterfaceTests {
  @Test func `the interface has the version it always had`() {
    #expect(UserfaultInterface.version == 0xAA)
  }
}
