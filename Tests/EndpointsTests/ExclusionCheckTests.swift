// A file of --exclude that no machine takes is found before the destination is touched.

import Foundation
import Testing

@testable import Endpoints

@Suite struct ExclusionCheckTests {
  /// A machine of 128 MiB: 32768 pages, a bitmap of 4096 bytes.
  private static let blocks = [
    RAMBlockFact(name: "pc.ram", usedLength: 128 << 20, maxLength: 128 << 20)
  ]

  private func refusal(of content: [UInt8]?) throws -> String? {
    let path = FileManager.default.temporaryDirectory.path + "/godwit-exclude-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    if let content { try Data(content).write(to: URL(fileURLWithPath: path)) }
    do throws(MoveError) {
      try ExclusionCheck.check(path, for: Self.blocks)
      return nil
    } catch {
      #expect(error.code == .refused)
      return error.description
    }
  }

  @Test func `what the machine may take is left to it`() throws {
    #expect(throws: Never.self) { try ExclusionCheck.check(nil, for: Self.blocks) }
    #expect(try refusal(of: [UInt8](repeating: 0, count: 4096)) == nil)
    #expect(try refusal(of: Array("GODWITXB".utf8) + [1, 0, 0, 0]) == nil)
  }

  @Test func `what it cannot take is refused with the reason`() throws {
    #expect(try refusal(of: nil)?.contains("does not exist") == true)
    #expect(try refusal(of: [])?.contains("empty") == true)
    #expect(try refusal(of: [1, 2, 3])?.contains("has 3 bytes") == true)
    let long = [UInt8]("GODWITXB".utf8) + [UInt8](repeating: 0, count: 5000)
    #expect(try refusal(of: long)?.contains("more than") == true)
    let said = try #require(throws: MoveError.self) {
      try ExclusionCheck.check("/dev/null", for: Self.blocks)
    }
    #expect(said.description.contains("not a regular file"))
  }
}
