// The demonstration as a person runs it: every step is there, and no page is lost.

import Foundation
import JSON
import QEMULab
import Testing

extension Interop {
  @Suite
  struct DemoTests {
    /// The steps of the machine that moves.
    private static let moves = ["move a running machine", "move it back"]

    @Test(
      .enabled(if: QEMU.newest() != nil, "no QEMU on PATH nor in GODWIT_QEMU"),
      .timeLimit(.minutes(3)))
    func `the demonstration saves, clones, restores and moves without losing a page`() throws {
      let result = try Godwit().run(["demo", "--memory", "64", "--clones", "2"])
      #expect(result["qemu"]?.string?.isEmpty == false)
      #expect(result["pages_bad"]?.int == 0)
      let steps = try #require(result["steps"]?.array)
      #expect(steps.count == 6, "\(steps)")
      try expectMoves(in: steps)
    }

    @Test(.timeLimit(.minutes(2)))
    func `without a QEMU the demonstration still moves a machine`() throws {
      // No PATH that has one, so that every host is one without.
      let result = try Godwit().run(
        ["demo", "--memory", "64"], environment: ["PATH": "/nowhere", "GODWIT_QEMU": ""])
      #expect(result["qemu"] == .null)
      let steps = try #require(result["steps"]?.array)
      #expect(steps.compactMap { $0["step"]?.string } == Self.moves)
      try expectMoves(in: steps)
    }

    private func expectMoves(in steps: [JSONValue]) throws {
      let pageCount = (64 << 20) / 4096
      var sent: [Int] = []
      for title in Self.moves {
        let step = try #require(steps.first { $0["step"]?.string == title })
        let checked = try #require(step["pages_checked"]?.int)
        #expect(checked >= pageCount, "every page was looked at: \(step)")
        sent.append(try #require(step["sent_bytes"]?.int))
        #expect(step["downtime_ms"]?.double != nil)
        #expect(try #require(step["guest_gap_ms"]?.double) > 0)
      }
      #expect(sent[0] > 32 << 20, "its memory went over: \(sent)")
      // How much the guest rewrites meanwhile depends on the host: only half a minute would be all.
      #expect(sent[1] < sent[0] / 10 * 9, "some of its memory was still there: \(sent)")
    }
  }
}
