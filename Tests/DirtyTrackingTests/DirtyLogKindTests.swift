// Sources of dirt by name.

import Testing

@testable import DirtyTracking

struct DirtyLogKindTests {
  @Test func `a source is known by the name people type`() {
    #expect(DirtyLogKind(rawValue: "write-protect") == .writeProtect)
  }
}
