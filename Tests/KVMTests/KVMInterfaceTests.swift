// What the module speaks.

import Testing

@testable import KVM

struct KVMInterfaceTests {
  @Test func `the interface has the version it always had`() {
    #expect(KVMInterface.version == 12)
  }
}
