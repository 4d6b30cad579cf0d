// Accelerators by name.

import Testing

@testable import VMM

struct AcceleratorKindTests {
  @Test func `a stand-in is known by its name`() {
    #expect(AcceleratorKind(rawValue: "synthetic") == .synthetic)
  }
}
