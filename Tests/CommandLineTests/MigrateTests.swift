// `migrate` as it is typed, what it refuses before anything is touched, and the page it draws.

import Foundation
import JSON
import Testing

@testable import Endpoints
@testable import godwit

@Suite struct MigrateTests {
  @Test(
    arguments: [
      ("1", 1), ("800K", 800 << 10), ("100M", 100 << 20), ("1.5G", 3 << 29),
      ("10MiB/s", 10 << 20), ("10mb", 10 << 20), ("2T", 2 << 40),
    ] as [(String, UInt64)])
  func `a rate is read in powers of 1024`(text: String, bytes: UInt64) {
    #expect(TransferRate(argument: text)?.bytesPerSecond == bytes)
  }

  @Test(arguments: [
    "", "0", "0.5", "-1", "M", "1X", "nan", "0x10", "1e5", "9999999T", "1.2.3", "١",
  ])
  func `what is no rate is refused`(text: String) {
    #expect(TransferRate(argument: text) == nil)
  }

  @Test(
    arguments: [
      ("migrate --postcopy", "migrate --postcopy=first-pass"),
      ("migrate --postcopy --json", "migrate --postcopy=first-pass --json"),
      ("migrate --postcopy now --json", "migrate --postcopy now --json"),
      ("migrate --postcopy=now --json", "migrate --postcopy=now --json"),
      ("save --postcopy", "save --postcopy"), ("", ""),
    ])
  func `--postcopy may stand alone`(typed: String, parsed: String) throws {
    func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }
    let spelled = MigrateCommand.spelledOut(words(typed))
    #expect(spelled == words(parsed))
    guard spelled.first == "migrate" else { return }
    let command = try MigrateCommand.parse(spelled.dropFirst() + ["--from", "a", "--to", "b"])
    #expect(command.postcopy == (typed.contains("now") ? .now : .firstPass))
  }

  @Test(
    arguments: [
      ["--to", "b"], ["--from", "a"], ["--from", "a", "--to", "b", "--postcopy=later"],
      ["--from", "a", "--to", "b", "--recover", "--postcopy"],
      ["--from", "a", "--to", "b", "--downtime", "-1"],
      ["--from", "a", "--to", "b", "--downtime", "2000001"],
      ["--from", "a", "--to", "b", "--bandwidth", "0"],
      ["--from", "a", "--to", "host:b"], ["--from", "a", "--to=-oProxyCommand=x:/b"],
      ["--from", "host:/a", "--to", "b"],
      ["--from", "a", "--to", "b", "--report", ""],
    ])
  func `wrong usage ends with 2`(arguments: [String]) throws {
    let outcome = try BuiltCommand.run(["migrate"] + arguments)
    #expect(outcome.code == 2, "\(outcome.errors)")
    #expect(outcome.output.isEmpty)
  }

  @Test(
    arguments: [
      ("--downtime", "-1", "from 0 to 2000000"), ("--downtime", "2000001", "from 0 to 2000000"),
      ("--bandwidth", "0", "at least one byte a second"),
    ])
  func `a number that does not fit is refused with what would`(
    option: String, value: String, reason: String
  ) throws {
    let outcome = try BuiltCommand.run(["migrate", "--from", "a", "--to", "b", option, value])
    #expect(outcome.code == 2)
    #expect(outcome.errors.contains(value) && outcome.errors.contains(reason))
  }

  @Test func `a socket that is not there, and one for both ends, are each a sentence`() throws {
    let absent = try BuiltCommand.run(
      ["migrate", "--from", "/nonexistent/a", "--to", "/nonexistent/b"])
    #expect(absent.code == 1)
    #expect(absent.errors.contains("/nonexistent/a"))
    let same = try BuiltCommand.run(
      ["migrate", "--from", "/nonexistent/a", "--to", "/nonexistent/../nonexistent/a"])
    #expect(same.code == 1)
    #expect(same.errors.contains("into itself"))
  }

  @Test func `a report that cannot be written is told of before anything is begun`() throws {
    let outcome = try BuiltCommand.run(
      ["migrate", "--from", "/nonexistent/a", "--to", "/nonexistent/b", "--report", "/proc/x/y"])
    #expect(outcome.code == 1)
    #expect(outcome.errors.contains("/proc/x/y"))
    #expect(!outcome.errors.contains("/nonexistent/a"))
  }

  @Test func `a move that fails leaves its report, and no left-over beside it`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/move.html"
    let outcome = try BuiltCommand.run(
      ["migrate", "--from", "/nonexistent/a", "--to", "/nonexistent/b", "--report", path])
    #expect(outcome.code == 1)
    #expect(try String(contentsOfFile: path, encoding: .utf8).contains("did not succeed"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["move.html"])
  }

  /// What becomes of a report that is asked for at this path, by a move that fails at once.
  private func report(at path: String) throws -> CommandOutcome {
    try BuiltCommand.run(
      ["migrate", "--from", "/nonexistent/a", "--to", "/nonexistent/b", "--report", path])
  }

  @Test func `a report takes the place of a file and of nothing else`() throws {
    let folder = try TemporaryFolder()
    let pipe = folder.path + "/pipe", link = folder.path + "/link", file = folder.path + "/file"
    #expect(mkfifo(pipe, 0o600) == 0)
    for path in [pipe, "/dev/null"] {
      let outcome = try report(at: path)
      #expect(outcome.code == 1)
      #expect(outcome.errors.contains("is no regular file"), "\(outcome.errors)")
    }
    let type = try FileManager.default.attributesOfItem(atPath: pipe)[.type] as? FileAttributeType
    #expect(type != .typeRegular)
    // A link is followed, whether its file is there or not; what is beside it is the user's own.
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "file")
    for path in [link, file] {
      try Data("mine".utf8).write(to: URL(fileURLWithPath: path + ".partial"))
    }
    for _ in 0..<2 {
      #expect(try report(at: link).code == 1)
      #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "file")
      #expect(try String(contentsOfFile: file, encoding: .utf8).contains("did not succeed"))
    }
    for path in [link, file] {
      #expect(try String(contentsOfFile: path + ".partial", encoding: .utf8) == "mine")
    }
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        == ["file", "file.partial", "link", "link.partial", "pipe"])
  }

  @Test func `a report in a folder that is not there says so`() throws {
    let outcome = try report(at: "/nonexistent/folder/move.html")
    #expect(outcome.code == 1)
    #expect(outcome.errors.contains("its folder does not exist. Nothing was begun."))
  }

  @Test func `errors of Foundation are told in its words for people`() throws {
    do {
      _ = try Data(contentsOf: URL(fileURLWithPath: "/nonexistent/file"))
    } catch {
      let text = Sentence.about(error)
      for part in ["Domain", "Code=", "CocoaError", "UserInfo"] {
        #expect(!text.contains(part), "\(text)")
      }
    }
    let posix = Sentence.about(NSError(domain: NSPOSIXErrorDomain, code: Int(ENOSPC)))
    #expect(!posix.contains("Domain") && !posix.contains("Code="), "\(posix)")
  }

  @Test func `a machine that has moved has moved, whatever becomes of the report`() throws {
    guard BareQEMU.executable != nil else { return }
    let folder = try TemporaryFolder()
    let source = try BareQEMU(in: folder, "source")
    let target = try BareQEMU(in: folder, "target", ["-incoming", "defer"])
    // No file may be longer than nothing: the report is found out only when it is written.
    let line = #"set -o pipefail; trap "" XFSZ; (ulimit -f 0; "$0" "$@" 2>&1) | cat"#
    let output = folder.path + "/output"
    let process = try ChildProcess(
      "/bin/bash",
      ["-c", line, BuiltCommand.path, "migrate", "--paused", "--from", source.qmp, "--to"]
        + [target.qmp, "--json", "--report", folder.path + "/move.html"], output: output)
    let code = process.waitForExit()
    let text = try String(contentsOfFile: output, encoding: .utf8)
    #expect(code == 0, "\(text)")
    let objects = try text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    #expect(objects.last?["event"] == "result" && objects.last?["status"] == "completed")
    let notes = objects.filter { $0["event"] == "note" }.compactMap { $0["message"]?.string }
    let note = notes.first { $0.contains("The report cannot be written to") }
    #expect(note != nil, "\(notes)")
    #expect(note?.contains("Domain") != true && note?.contains("Nothing was begun") != true)
  }

  // MARK: - The page

  private func sample(
    _ seconds: Double, round: UInt64, wire: UInt64, left: UInt64, dirty: Double? = nil
  ) -> MigrationCourse.Sample {
    MigrationCourse.Sample(
      seconds: seconds, status: "active", round: round, wireBytes: wire, remainingBytes: left,
      bytesPerSecond: 1e8, dirtyBytesPerSecond: dirty, zeroPages: 10, normalPages: wire / 4096,
      pageRequests: 0, expectedDowntimeMilliseconds: round > 1 ? 40 : nil, throttlePercentage: 0)
  }

  private var course: MigrationCourse {
    var course = MigrationCourse()
    course.samples = [
      sample(0.1, round: 1, wire: 0, left: 100 << 20),
      sample(0.6, round: 1, wire: 50 << 20, left: 50 << 20),
      sample(1.1, round: 2, wire: 100 << 20, left: 20 << 20, dirty: 2e7),
      sample(1.3, round: 3, wire: 120 << 20, left: 0, dirty: 1e7),
    ]
    course.events = [
      .init(seconds: 1.25, end: .source, name: "STOP"),
      .init(seconds: 1.29, end: .destination, name: "RESUME"),
    ]
    return course
  }

  @Test func `rounds add up what was sent in them`() throws {
    let rounds = MigrationRound.all(of: course)
    #expect(rounds.map(\.number) == [1, 2, 3])
    #expect(rounds.map(\.wireBytes) == [50 << 20, 50 << 20, 20 << 20])
    #expect(rounds.map(\.dirtyBytes) == [100 << 20, 20 << 20, 0])
    #expect(rounds[0].end == 1.1 && rounds[1].end == 1.3)
  }

  @Test func `a long move's page has the switch, to the millisecond, and what it was`() {
    var course = MigrationCourse()
    course.source = "QEMU 10.0.2"
    course.destination = "a machine of Godwit's own"
    course.samples = [sample(0.1, round: 1, wire: 0, left: 0)]
    course.events = (1...1500).map {
      .init(seconds: Double($0) / 1000, end: .source, name: "MIGRATION_PASS \($0)")
    }
    course.events += [
      .init(seconds: 1.5011, end: .source, name: "STOP"),
      .init(seconds: 1.5034, end: .destination, name: "RESUME"),
    ]
    let html = MigrationPage(
      from: "a", to: "b", course: course, options: ["--downtime 0", "--paused"], begin: 0
    ).html
    for part in [
      "1.501 s", "1.503 s", "STOP", "RESUME", "QEMU 10.0.2", "a machine of Godwit",
      "--downtime 0 --paused", "1970-01-01",
    ] {
      #expect(html.contains(part), "\(part) is missing")
    }
    #expect(!html.contains("MIGRATION_PASS"))
  }

  @Test func `the page is whole in itself and well-formed`() throws {
    let page = MigrationPage(from: "a", to: "b", course: course, failure: "It broke.")
    let html = page.html
    #expect(page.standstill == 1.25...1.29)
    for outside in ["http", "src=", "href=", "url(", "@import", "<script"] {
      #expect(!html.contains(outside), "the page refers to something outside: \(outside)")
    }
    for part in ["Memory still to send", "Pages sent, by kind", "Rounds", "What happened"] {
      #expect(html.contains(part), "\(part) is missing")
    }
    #expect(html.contains("prefers-color-scheme: dark"))
    // An XML parser takes all but what HTML leaves open.
    let body = html.replacing("<!DOCTYPE html>", with: "")
      .replacing(/<meta ([^>]*)>/) { "<meta \($0.output.1)/>" }
    _ = try XMLCheck(body)
  }

  @Test func `names cannot become markup`() throws {
    let hostile = "\"><script>alert(1)</script>\u{1}&'"
    var course = course
    course.events.append(.init(seconds: 1, end: .source, name: "MIGRATION " + hostile))
    let html = MigrationPage(from: hostile, to: hostile, course: course, failure: hostile).html
    #expect(!html.contains("<script"))
    #expect(!html.contains("\u{1}"))
    #expect(html.contains("&lt;script&gt;"))
  }

  @Test func `a course of nothing, or of one instant, makes a page too`() throws {
    for samples in [[], [sample(0, round: 0, wire: 0, left: 0)]] {
      var course = MigrationCourse()
      course.samples = samples
      let html = MigrationPage(from: "a", to: "b", course: course, failure: "Nothing.").html
      #expect(html.contains("Nothing.") && !html.contains("nan") && !html.contains("inf"))
    }
  }

  @Test(
    arguments: [(0, 1, 2), (7, 8, 5), (1000, 1000, 3), (3e9, 3e9, 4), (.infinity, 1, 2)]
      as [(Double, Double, Int)])
  func `an axis ends at a round number`(maximum: Double, top: Double, count: Int) {
    let scale = ChartScale(upTo: maximum)
    #expect(scale.top == top)
    #expect(scale.ticks.count == count)
    #expect(scale.ticks.last == scale.top)
  }

  @Test func `an axis of bytes has round numbers of its unit`() {
    let scale = ChartScale(upTo: Double(252 << 20), isBinary: true)
    #expect(scale.top == Double(300 << 20))
    #expect(scale.ticks[1] == Double(100 << 20))
  }
}

/// Whether a text is well-formed: every element that begins ends in its place.
private struct XMLCheck {
  struct Malformed: Error {
    let place: String
  }

  init(_ text: String) throws {
    var open: [Substring] = []
    for match in text.matches(of: /<(\/?)([a-zA-Z0-9]+)([^<>]*?)(\/?)>/) {
      let (_, close, name, _, empty) = match.output
      if !close.isEmpty {
        guard open.popLast() == name else { throw Malformed(place: "</\(name)> in \(open)") }
      } else if empty.isEmpty {
        open.append(name)
      }
    }
    guard open.isEmpty else { throw Malformed(place: "unclosed: \(open)") }
  }
}
