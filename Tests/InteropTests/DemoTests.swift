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
      let start = ContinuousClock.now
      let result = try Godwit().run(["demo", "--memory", "64", "--clones", "2"])
      let time = ContinuousClock.now - start
      #expect(result["qemu"]?.string?.isEmpty == false)
      #expect(result["pages_bad"]?.int == 0)
      let steps = try #require(result["steps"]?.array)
      #expect(steps.count == 6, "\(steps)")
      try expectMoves(in: steps, megabytes: 64, within: time)
    }

    @Test(.timeLimit(.minutes(2)))
    func `without a QEMU the demonstration still moves a machine`() throws {
      let start = ContinuousClock.now
      // No PATH that has one, so that every host is one without.
      let result = try Godwit().run(
        ["demo", "--memory", "256"], environment: ["PATH": "/nowhere", "GODWIT_QEMU": ""])
      let time = ContinuousClock.now - start
      #expect(result["qemu"] == .null)
      let steps = try #require(result["steps"]?.array)
      #expect(steps.compactMap { $0["step"]?.string } == Self.moves)
      try expectMoves(in: steps, megabytes: 256, within: time)
    }

    private func expectMoves(
      in steps: [JSONValue], megabytes: Int, within time: Duration
    ) throws {
      let memory = megabytes << 20
      let pageCount = memory / 4096
      var sent: [Int] = []
      for title in Self.moves {
        let step = try #require(steps.first { $0["step"]?.string == title })
        let checked = try #require(step["pages_checked"]?.int)
        #expect(checked >= pageCount, "every page was looked at: \(step)")
        sent.append(try #require(step["sent_bytes"]?.int))
        #expect(step["downtime_ms"]?.double != nil)
        #expect(try #require(step["guest_gap_ms"]?.double) > 0)
      }
      #expect(sent[0] > memory / 2, "its memory went over: \(sent)")
      // What it left behind does not travel again, but what its guest has rewritten since does: at
      // most 5 MiB for each second of the demonstration. A quarter more is for a guest that makes
      // up for lost time, an eighth of memory for hashes and for what goes before they are there.
      let rewritten = Int(5 * Double(1 << 20) * (time / .seconds(1)))
      let limit = min(rewritten * 5 / 4 + memory / 8, sent[0] / 10 * 9)
      #expect(sent[1] <= limit, "its memory was still there: \(sent), after \(time)")
    }
  }
}
