// The main job from nothing: a guest that checks its own memory, saved, cloned, restored and moved.

import CheckpointStore
import DemoGuest
public import Endpoints
import Foundation

/// Shows on this machine what Godwit does, with a real guest in a real QEMU and in machines of
/// Godwit's own.
public struct Demonstration: Sendable {
  /// How the demonstration is run.
  public struct Options: Sendable {
    /// The QEMU to use, with its arguments; nil takes the first that is found.
    public var qemu: [String]?
    /// The guest's memory in MiB; all of it but the lowest few is filled with data of its own.
    public var memoryMegabytes = 256
    /// How many clones are started.
    public var cloneCount = 3
    /// How this very command is started anew, as words.
    public var godwit = ["/proc/self/exe"]

    /// The options of the command line.
    public init() {}
  }

  let options: Options
  let observer: MoveObserver
  /// Everything of the demonstration is in here, and goes with it.
  private let folder: URL

  /// Runs the whole demonstration and reports; leaves no process and no file behind.
  public static func run(
    _ options: Options = Options(), observer: MoveObserver = MoveObserver()
  ) async throws -> DemonstrationReport {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("godwit-demo-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let demonstration = Demonstration(options: options, observer: observer, folder: folder)
    return try await demonstration.run()
  }

  private func run() async throws -> DemonstrationReport {
    let began = ContinuousClock.now
    let qemu = try await findQEMU()
    var report = DemonstrationReport(
      qemu: qemu.map { "QEMU \($0.version ?? $0.command[0])" }, accelerator: accelerator,
      memoryBytes: UInt64(options.memoryMegabytes) << 20)
    if let qemu {
      try await saveAndStart(qemu.command, &report)
    } else {
      observer.note(
        "There is no qemu-system-x86_64 on this machine, so nothing is saved, cloned and restored: "
          + "install it (on Debian: apt-get install qemu-system-x86), or name one in GODWIT_QEMU.")
    }
    try await moveThereAndBack(&report)
    guard report.pagesBad == 0 else {
      throw MoveError(.failed, "The guests found \(report.pagesBad) wrong pages in their memory.")
    }
    report.seconds = (ContinuousClock.now - began) / .seconds(1)
    return report
  }

  /// A guest of QEMU's into a store, twice, and out of it again.
  private func saveAndStart(_ qemu: [String], _ report: inout DemonstrationReport) async throws {
    try DemoGuest.write(to: path("guest.elf"))
    let store = try Store.open(at: path("store"))
    observer.note("Starting a guest with \(options.memoryMegabytes) MiB that checks its memory.")
    let guest = try startGuest(qemu)
    defer { guest.end() }
    try await guest.waitUntilReady()
    report.steps.append(try await save("first", "save, live", of: guest, into: store))
    report.steps.append(try await save("second", "save again, live", of: guest, into: store))
    let seen = try await guest.watch(reports: 3, since: guest.reports.count)
    report.steps[1].pagesChecked = seen.checked
    report.pagesBad += seen.bad
    guest.end()

    for (count, sharing) in [(options.cloneCount, true), (1, false)] {
      let (step, bad) = try await start("second", count: count, sharing: sharing, qemu, store)
      report.steps.append(step)
      report.pagesBad += bad
    }

    observer.note("Reading both checkpoints back and comparing every page with its hash.")
    let verified = try store.verify()
    guard verified.isClean else {
      throw MoveError(.failed, "\(verified.damageCount) damages were found in a fresh store.")
    }
    report.pagesVerified = verified.pages
  }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  /// The QEMU to use; nil where none is named and none is there.
  private func findQEMU() async throws -> InstalledQEMU? {
    if let command = options.qemu { return await InstalledQEMU.examine(command) }
    return await InstalledQEMU.first(for: "x86_64")
  }

  /// The machine as all of the demonstration's QEMUs have it, without memory that comes from an
  /// image.
  ///
  /// Only the serial port's file differs.
  private func machine(_ serial: String) -> [String] {
    [
      "-nodefaults", "-display", "none", "-m", "\(options.memoryMegabytes)M",
      "-serial", "file:\(serial)", "-kernel", path("guest.elf"), "-append",
      DemoGuest.commandLine(rate: 20, pattern: .random, reportMilliseconds: 250),
    ]
  }

  private func startGuest(_ qemu: [String]) throws -> DemonstrationGuest {
    let serial = path("guest.serial")
    let qmp = path("guest.qmp")
    let process = try DetachedProcess.start(
      qemu[0],
      arguments: qemu.dropFirst() + machine(serial) + ["-qmp", "unix:\(qmp),server=on,wait=off"],
      logPath: path("guest.log"))
    return DemonstrationGuest(process: process, qmp: qmp, serial: serial)
  }

  private func save(
    _ name: String, _ title: String, of guest: DemonstrationGuest, into store: Store
  ) async throws -> DemonstrationReport.Step {
    observer.note("Saving it while it runs, as '\(name)'.")
    let result = try await Operations.save(
      SaveRequest(qmp: guest.qmp, name: name, mode: .live), store: store, observer: observer)
    return DemonstrationReport.Step(
      title: title, downtimeMilliseconds: result.downtimeMilliseconds,
      storedBytes: result.storedBytes, seconds: result.seconds)
  }

  /// Starts machines from a checkpoint, lets each report on its memory, and ends them.
  private func start(
    _ name: String, count: Int, sharing: Bool, _ qemu: [String], _ store: Store
  ) async throws -> (step: DemonstrationReport.Step, pagesBad: UInt64) {
    let title = sharing ? "\(count) clones that share memory" : "instant restore"
    observer.note("Starting from '\(name)': \(title).")
    let label = sharing ? "clone" : "restored"
    let guests = try await Operations.start(
      StartRequest(
        name: name, count: count, sharesMemory: sharing,
        qemuCommand: qemu + machine(path("\(label)-{index}.serial")), runDirectory: path(label)),
      store: store, observer: observer)
    var checked: UInt64 = 0
    var bad: UInt64 = 0
    defer { for guest in guests { kill(guest.pid, SIGKILL) } }
    for (index, guest) in guests.enumerated() {
      let watched = DemonstrationGuest(
        process: nil, qmp: guest.qmp, serial: path("\(label)-\(index).serial"))
      let seen = try await watched.watch(reports: 6, since: 0)
      checked += seen.checked
      bad += seen.bad
    }
    let running = guests.compactMap(\.restore.runningMilliseconds).max()
    return (
      DemonstrationReport.Step(
        title: title, runningMilliseconds: running, pagesChecked: checked,
        seconds: guests.map(\.restore.seconds).max() ?? 0), bad
    )
  }
}
