// `godwit migrate`: a running machine from one endpoint to another.

public import ArgumentParser
public import Endpoints
import Foundation
import JSON

extension PostcopyStart: ExpressibleByArgument {}

struct MigrateCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "migrate",
    abstract: "Move a running machine from one endpoint to another.",
    discussion: """
      Both are QEMUs, or both machines of `godwit vm run`, of the same machine type, memory and \
      devices; the destination is started with -incoming defer. What differs is named before \
      anything runs. The memory goes straight from one to the other, over a connection that only \
      they have; the machine runs meanwhile, and stands still for a moment at the end.

      The destination may be on another host, [user@]host:/path: your ssh leads there and encrypts \
      what goes, and nothing listens on any network. GODWIT_SSH says how ssh is called, with \
      options, where 'ssh' is not enough.

      A guest that writes faster than its memory can be sent never gets there: Godwit says so, and \
      what would help. With --postcopy the machine goes over once its memory has been sent for the \
      first time, whatever it writes, and gets what is missing when it asks for it.

      Ctrl-C cancels, and the machine runs on at the source. Once it runs at the destination there \
      is no way back: the move goes on to its end. After any failure exactly one machine can run, \
      and Godwit says which.

      EXAMPLES
        godwit migrate --from /run/vm/qmp.sock --to /run/new/qmp.sock
        godwit migrate --from vm.sock --to new.sock --downtime 50 --bandwidth 200M
        godwit migrate --from vm.sock --to new.sock --postcopy --report move.html
        godwit migrate --from vm.sock --to new.sock --recover
        godwit migrate --from vm.sock --to admin@host2:/run/new/qmp.sock
      """)

  static let cancelsInOrder = true

  @Option(
    help: ArgumentHelp(
      "The QMP socket of the machine, a Unix socket.", valueName: "socket"),
    completion: .file())
  var from: String

  @Option(
    help: ArgumentHelp(
      "The QMP socket of the endpoint that waits for it; on another host, [user@]host:/path.",
      valueName: "socket"),
    completion: .file())
  var to: String

  @Option(
    help: ArgumentHelp(
      "Run at the destination before all memory is there: after the first pass (meant by "
        + "--postcopy alone), or at once (--postcopy=now).", valueName: "first-pass|now"))
  var postcopy: PostcopyStart?

  // A number below zero is told what is wrong with it, and is not taken for an option.
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "How long the machine may stand still, in milliseconds. (default: the source's setting)",
      valueName: "ms"), transform: Self.milliseconds)
  var downtime: UInt64?

  @Option(
    help: ArgumentHelp(
      "How much may be sent in a second: 800K, 100M, 1.5G. (default: what the link takes)",
      valueName: "rate"), transform: Self.rate)
  var bandwidth: TransferRate?

  @Flag(help: "Stop the machine for the whole copy.")
  var paused = false

  @Flag(help: "Move even where the guest is known to get broken memory.")
  var force = false

  @Option(
    help: ArgumentHelp("Write a page with pictures of how the move went.", valueName: "file.html"),
    completion: .file(extensions: ["html"]))
  var report: String?

  @OptionGroup var exclusion: ExclusionOptions

  @Flag(help: "Carry on a postcopy whose connection broke.")
  var recover = false

  @OptionGroup var general: GeneralOptions

  /// QEMU's own limit for `downtime-limit`.
  private static let longestDowntime: UInt64 = 2_000_000

  /// The command line with a bare `--postcopy` spelled out: the parser knows options with a value
  /// and flags without one, and takes `--postcopy=now` for the flag where another option follows.
  static func spelledOut(_ words: [String]) -> [String] {
    guard words.first == configuration.commandName else { return words }
    return words.indices.map { index in
      guard words[index] == "--postcopy" else { return words[index] }
      let next = index + 1 < words.count ? words[index + 1] : ""
      return PostcopyStart(rawValue: next) == nil
        ? "--postcopy=\(PostcopyStart.firstPass.rawValue)" : words[index]
    }
  }

  private static func milliseconds(_ text: String) throws -> UInt64 {
    guard let number = UInt64(text), number <= longestDowntime else {
      throw ValidationError("it takes a whole number from 0 to \(longestDowntime).")
    }
    return number
  }

  private static func rate(_ text: String) throws -> TransferRate {
    guard let rate = TransferRate(argument: text) else {
      throw ValidationError("it takes at least one byte a second: 800K, 100M, 1.5G.")
    }
    return rate
  }

  func validate() throws {
    try checkAddresses()
    let hasMode = paused || postcopy != nil || downtime != nil || bandwidth != nil
    if recover, hasMode || exclusion.file != nil {
      throw ValidationError("--recover carries on as the move began; it takes no other mode.")
    }
    if report?.isEmpty == true { throw ValidationError("--report takes the path of a file.") }
  }

  private func checkAddresses() throws {
    if case .remote? = try? EndpointAddress(from) {
      throw ValidationError(
        "--from is a machine of this host: run godwit where the machine runs, and give it the "
          + "other host with --to.")
    }
    do {
      _ = try EndpointAddress(to)
    } catch {
      throw ValidationError("\(error)")
    }
  }

  /// How the person's ssh is called.
  private static var secureShell: String {
    let named = ProcessInfo.processInfo.environment["GODWIT_SSH"] ?? ""
    return named.isEmpty ? "ssh" : named
  }

  func perform(_ console: Console) async throws {
    let request = MigrateRequest(
      source: from, destination: try EndpointAddress(to), isPaused: paused, postcopy: postcopy,
      downtimeLimitMilliseconds: downtime, bytesPerSecond: bandwidth?.bytesPerSecond,
      isForced: force, recovers: recover, excludedPages: exclusion.file,
      keeperCommand: KeepMonitorCommand.line, secureShell: Self.secureShell)
    let trace = MigrationTrace()
    // A place that cannot be written is found before the machine has moved.
    let file = try report.map { try ReportFile(at: $0) }
    let begin = Date()
    func page(_ result: MigrateResult?, _ failure: String?) -> MigrationPage {
      MigrationPage(
        from: from, to: to, course: trace.course, result: result, failure: failure,
        options: chosenOptions, begin: begin.timeIntervalSince1970)
    }
    do {
      let result = try await Operations.migrate(request, trace: trace, observer: console.observer)
      // The machine has moved, whatever becomes of the report.
      for line in result.lines { console.print(line) }
      write(page(result, nil), to: file, console)
      console.emit("result", result.jsonMembers)
    } catch {
      write(page(nil, Sentence.about(error)), to: file, console)
      throw error
    }
  }

  private func write(_ page: MigrationPage, to file: ReportFile?, _ console: Console) {
    do throws(ReportFile.Unwritable) {
      try file?.write(page)
    } catch {
      console.note(error.description)
    }
  }

  /// How the move was asked for, as it is typed.
  private var chosenOptions: [String] {
    [
      postcopy.map { "--postcopy=\($0.rawValue)" }, downtime.map { "--downtime \($0)" },
      bandwidth.map { "--bandwidth \($0.bytesPerSecond)" }, paused ? "--paused" : nil,
      exclusion.file.map { "--exclude \($0)" }, force ? "--force" : nil,
      recover ? "--recover" : nil,
    ].compactMap { $0 }
  }
}
