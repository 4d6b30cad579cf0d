// The commands on a real machine: what they print, and what a script may rely on.

import Foundation
import JSON
import Testing

/// A QEMU without devices or guest: its firmware runs, finds nothing and waits.
final class BareQEMU {
  static let executable: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.map { "\($0)/qemu-system-x86_64" }
      .first { FileManager.default.isExecutableFile(atPath: $0) }
  }()
  static let arguments = ["-nodefaults", "-display", "none", "-m", "64"]

  let qmp: String
  private let process: ChildProcess

  init(in folder: TemporaryFolder, _ name: String, _ more: [String] = []) throws {
    qmp = "\(folder.path)/\(name).qmp"
    process = try ChildProcess(
      try #require(Self.executable),
      Self.arguments + more + ["-qmp", "unix:\(qmp),server=on,wait=off"])
    for _ in 0..<400 where !FileManager.default.fileExists(atPath: qmp) {
      Thread.sleep(forTimeInterval: 0.025)
    }
  }
}

@Suite(.enabled(if: BareQEMU.executable != nil, "needs qemu-system-x86_64"))
struct MachineTests {
  private let folder: TemporaryFolder
  private var store: String { "\(folder.path)/store" }

  init() throws { folder = try TemporaryFolder() }

  /// Runs a command with `--json` and returns its last object, which must be of this event.
  private func last(_ event: String, _ arguments: [String]) throws -> JSONValue {
    // What follows -- is QEMU's.
    let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
    let all = arguments[..<end] + ["--json"] + arguments[end...]
    let outcome = try BuiltCommand.run(Array(all), store: store)
    #expect(outcome.code == (event == "result" ? 0 : 1), "\(outcome.output)")
    #expect(outcome.errors.isEmpty)
    let object = try #require(outcome.objects().last)
    #expect(object["event"]?.string == event, "\(object)")
    return object
  }

  private func expectFields(_ object: JSONValue, _ names: String) {
    for name in names.split(separator: " ") {
      #expect(object[String(name)] != nil, "\(name) is missing in \(object)")
    }
  }

  @Test func `a machine goes into the store and out of it, each result with its fields`() throws {
    let source = try BareQEMU(in: folder, "source")
    let saved = try last("result", ["save", "--qmp", source.qmp, "--name", "bare"])
    expectFields(
      saved,
      "name mode ram_bytes pages_zero pages_new pages_known stored_bytes downtime_ms seconds")
    #expect(saved["name"]?.string == "bare")
    let pages = ["pages_zero", "pages_new", "pages_known"].compactMap { saved[$0]?.int }
    #expect(pages.reduce(0, +) * 4096 == saved["ram_bytes"]?.int)

    let taken = try last("error", ["save", "--qmp", source.qmp, "--name", "bare"])
    #expect(taken["message"]?.string?.contains("exists already") == true)

    let listed = try last("result", ["list"])
    #expect(listed["checkpoints"]?.array?.compactMap { $0["name"]?.string } == ["bare"])
    let shown = try last("result", ["show", "bare"])
    expectFields(shown, "machine qemu_version architecture blocks device_state_bytes")

    let target = try BareQEMU(in: folder, "target", ["-incoming", "defer"])
    let restored = try last("result", ["restore", "bare", "--qmp", target.qmp])
    expectFields(restored, "name running_ms page_requests pages_pushed seconds")
    let again = try last("error", ["restore", "bare", "--qmp", target.qmp])
    #expect(again["message"]?.string?.contains("-incoming defer") == true)

    #expect(try last("result", ["verify"])["clean"]?.bool == true)
    let deleted = try last("result", ["delete", "bare"])
    #expect(deleted["deleted"]?.array?.compactMap(\.string) == ["bare"])
    expectFields(try last("result", ["gc"]), "bytes_freed pages_freed packs_removed pages_live")
  }

  @Test func `started machines run on, and end by the usual signal`() throws {
    let source = try BareQEMU(in: folder, "source")
    _ = try last("result", ["save", "--qmp", source.qmp, "--name", "bare", "--then", "quit"])
    let qemu = [try #require(BareQEMU.executable)] + BareQEMU.arguments
    let started = try last(
      "result",
      ["start", "bare", "--count", "2", "--run-directory", "\(folder.path)/run", "--"] + qemu)
    let guests = try #require(started["guests"]?.array)
    #expect(guests.count == 2)
    for guest in guests {
      expectFields(guest, "pid qmp running_ms page_requests pages_pushed seconds")
      let pid = try #require(guest["pid"]?.int.map(Int32.init))
      #expect(kill(pid, SIGTERM) == 0)
      var isGone = false
      for _ in 0..<400 where !isGone {
        isGone = kill(pid, 0) != 0 || Self.isZombie(pid)
        if !isGone { Thread.sleep(forTimeInterval: 0.025) }
      }
      #expect(isGone, "the QEMU did not heed SIGTERM")
      if !isGone { kill(pid, SIGKILL) }
    }
  }

  /// Where no init process reaps orphans, an ended process stays as an entry.
  private static func isZombie(_ pid: Int32) -> Bool {
    let status = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
    return status.split(separator: " ").dropFirst(2).first == "Z"
  }

  @Test func `a stream goes to a file, is inspected, and comes back`() throws {
    let source = try BareQEMU(in: folder, "source")
    _ = try last("result", ["save", "--qmp", source.qmp, "--name", "bare"])
    let file = "\(folder.path)/bare.stream"
    let sent = try last("result", ["send", "bare", "file:\(file)"])
    expectFields(sent, "name wire_bytes confirmed seconds")
    let inside = try last("result", ["inspect", file])
    #expect(inside["file_bytes"]?.int == sent["wire_bytes"]?.int)
    let received = try last("result", ["receive", "file:\(file)", "--name", "copy"])
    #expect(received["pages_new"]?.int == 0)
    let stored = try last("result", ["inspect", "copy"])
    #expect(stored["blocks"]?.array?.count == inside["blocks"]?.array?.count)
    let device = try last("result", ["inspect", "copy", "--device", "timer"])
    #expect(device["devices"]?[0]?["fields"]?.array?.isEmpty == false)
  }

  @Test func `an interrupted receive ends in order and lists nothing`() throws {
    let output = "\(folder.path)/receive.out"
    let process = try ChildProcess(
      BuiltCommand.path,
      ["receive", "unix:\(folder.path)/in", "--name", "never", "--json", "--store", store],
      output: output)
    var said = ""
    for _ in 0..<400 where !said.contains("\"event\":\"listening\"") {
      Thread.sleep(forTimeInterval: 0.025)
      said = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
    }
    kill(process.pid, SIGINT)
    #expect(process.waitForExit() == 1)
    said = try String(contentsOfFile: output, encoding: .utf8)
    #expect(said.contains("\"event\":\"error\""))
    #expect(try last("result", ["list"])["checkpoints"]?.array?.isEmpty == true)
  }

  @Test func `a socket that is not there, or no QMP, is a sentence`() throws {
    let missing = try last("error", ["save", "--qmp", "\(folder.path)/none", "--name", "a"])
    #expect(missing["message"]?.string?.contains("\(folder.path)/none") == true)
    let source = try BareQEMU(
      in: folder, "source", ["-monitor", "unix:\(folder.path)/hmp,server=on,wait=off"])
    _ = source
    let human = try last("error", ["save", "--qmp", "\(folder.path)/hmp", "--name", "a"])
    #expect(human["message"]?.string?.contains("QMP") == true)
  }
}
