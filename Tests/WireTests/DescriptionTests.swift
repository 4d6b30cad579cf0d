// DescriptionTests.swift: descriptions of device state are written as they are read.

import Testing

@testable import Wire

@Suite struct DescriptionTests {
  @Test(arguments: Fixture.streams.filter { $0.name.hasPrefix("pc-") })
  func `a description of QEMU's comes back from what is written of it`(fixture: Fixture) throws {
    guard let json = try fixture.deviceState().description else { return }
    let description = try VMDescription(parsing: json)
    #expect(try VMDescription(parsing: description.encoded()) == description)
  }

  @Test func `a description of nothing is one`() throws {
    let description = VMDescription(pageSize: nil, devices: [])
    #expect(description.encoded() == Array(#"{"devices":[]}"#.utf8))
  }
}
