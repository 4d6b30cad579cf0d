// Machines of Godwit's own in the store and out of it: eagerly, instantly, killed on the way.

import DemoGuest
import Foundation
import Glibc
import JSON
import QEMULab
import Testing

extension Interop {
  @Suite(.enabled(if: OwnMachine.isPossible, "needs /dev/kvm"))
  struct OwnMachineTests {
    @Test(.timeLimit(.minutes(5)), arguments: [["--eager"], []])
    func `a machine comes out of the store as it went in`(way: [String]) throws {
      let godwit = try Godwit()
      let source = try OwnMachine(godwit)
      try source.requireHealth()
      try source.qmp.execute("stop")
      let saved = try godwit.run(["save", "--qmp", source.qmpPath, "--name", "one"])
      #expect(saved["mode"] == "paused", "\(saved)")
      #expect(try source.status == "postmigrate")

      let target = try OwnMachine(godwit, isIncoming: true)
      try godwit.run(["restore", "one", "--qmp", target.qmpPath] + way)
      #expect(try target.status == "paused", "a machine that was stopped stays so")
      #expect(try target.migrationStatus == "completed")
      #expect(try target.memory() == source.memory())
      try target.qmp.execute("cont")
      try target.requireHealth()
      let (last, first) = (try #require(source.reports.last), try #require(target.reports.first))
      #expect(first.written >= last.written)
      try source.qmp.execute("cont")
      try source.requireHealth()
    }

    @Test(.timeLimit(.minutes(5)))
    func `the copy of a machine that ran runs at once, ahead of its memory`() throws {
      let godwit = try Godwit()
      let source = try OwnMachine(godwit)
      try source.requireHealth()
      try godwit.run(["save", "--qmp", source.qmpPath, "--name", "one"])
      let target = try OwnMachine(godwit, isIncoming: true)
      let restored = try godwit.run(["restore", "one", "--qmp", target.qmpPath])
      #expect(try #require(restored["running_ms"]?.double) > 0, "\(restored)")
      #expect(try #require(restored["page_requests"]?.int) > 0, "\(restored)")
      #expect(try target.status == "running")
      try target.requireHealth()
      let shown = try godwit.run(["show", "one"])
      #expect(shown["error"] == nil)
    }

    @Test(.timeLimit(.minutes(10)))
    func `a restore that is killed is carried on by --recover`() throws {
      let godwit = try Godwit()
      let source = try OwnMachine(godwit)
      try source.requireHealth()
      try source.qmp.execute("stop")
      try godwit.run(["save", "--qmp", source.qmpPath, "--name", "one"])
      let memory = try source.memory()
      var instants = SeededInstants()
      for number in 0..<3 {
        // The last one stays paused, so that its memory can be held against the source's.
        let isPaused = number == 2
        let target = try OwnMachine(godwit, isIncoming: true)
        let words = ["restore", "one", "--qmp", target.qmpPath]
        let run = try godwit.start(words)
        try target.wait(for: "the first pages") {
          ["postcopy-active", "completed"].contains(try target.migrationStatus)
        }
        usleep(UInt32.random(in: 0...150_000, using: &instants))
        run.kill()
        let context = Comment("seed \(instants.seed), kill \(number)")
        try target.wait(for: "the loss of the link") {
          ["postcopy-paused", "completed"].contains(try target.migrationStatus)
        }
        if try target.migrationStatus == "postcopy-paused" {
          try godwit.run(words + ["--recover"])
        }
        #expect(try target.migrationStatus == "completed", context)
        if isPaused { #expect(try target.memory() == memory, context) }
        try target.qmp.execute("cont")
        #expect(throws: Never.self, context) { try target.requireHealth() }
      }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a restore whose pager is killed is carried on by --recover`() throws {
      let godwit = try Godwit()
      let source = try OwnMachine(godwit)
      try source.requireHealth()
      try source.qmp.execute("stop")
      try godwit.run(["save", "--qmp", source.qmpPath, "--name", "one"])
      let target = try OwnMachine(godwit, isIncoming: true)
      let words = ["restore", "one", "--qmp", target.qmpPath]
      let run = try godwit.start(words)
      try target.wait(for: "the first pages") {
        ["postcopy-active", "completed"].contains(try target.migrationStatus)
      }
      for pager in target.pagers { Glibc.kill(pager, SIGKILL) }
      _ = try run.wait(seconds: 60)
      try target.wait(for: "the end of the link") {
        ["postcopy-paused", "completed"].contains(try target.migrationStatus)
      }
      if try target.migrationStatus == "postcopy-paused" {
        try godwit.run(words + ["--recover"])
      }
      #expect(try target.migrationStatus == "completed")
      #expect(try target.memory() == source.memory())
      #expect(target.pagers == [], "it ends once memory is whole")
    }

    @Test(.timeLimit(.minutes(5)))
    func `a machine that is killed while it waits leaves no pager behind`() throws {
      let godwit = try Godwit()
      let target = try OwnMachine(godwit, isIncoming: true)
      try target.qmp.execute(
        "migrate-set-capabilities",
        ["capabilities": [["capability": "postcopy-ram", "state": true]]])
      try target.qmp.execute("migrate-incoming", ["uri": .string("unix:\(target.qmpPath).in")])
      try target.wait(for: "the pager") { target.pagers.count == 1 }
      let pager = try #require(target.pagers.first)
      target.kill()
      let end = ContinuousClock.now + .seconds(10)
      while Glibc.kill(pager, 0) == 0, ContinuousClock.now < end { usleep(2000) }
      #expect(Glibc.kill(pager, 0) != 0)
    }

    @Test(.timeLimit(.minutes(5)))
    func `every field of a machine's devices is shown by its name`() throws {
      let godwit = try Godwit()
      let source = try OwnMachine(godwit)
      try source.requireHealth(reports: 1)
      let file = source.qmpPath + ".stream"
      defer { try? FileManager.default.removeItem(atPath: file) }
      try source.qmp.execute("migrate", ["uri": .string("file:" + file)])
      try source.wait(for: "the stream") { try source.migrationStatus == "completed" }
      for (device, field) in [
        ("cpu", "rip"), ("serial", "ier"), ("ioapic", "redirection_table"),
        ("virtio-balloon", "num_max"), ("kvmclock", "nanoseconds"), ("globalstate", "runstate"),
      ] {
        let shown = try godwit.start(["inspect", file, "--device", device])
        #expect(try shown.wait(seconds: 60) == 0, "\(device): \(shown.errors)")
        #expect(shown.output.contains(field), "\(device): \(shown.output)")
      }
    }
  }
}
