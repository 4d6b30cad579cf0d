// The checks of a stock Linux in Godwit's own machine, in an order that needs few boots.

import Foundation
import JSON
import QEMULab

/// Boots Linux and checks what it finds.
struct LinuxChecks {
  let report: Report
  let files: GuestFiles
  let godwit: String
  let busybox: String

  /// A boot takes a second or two on a host, ten times as long in an emulated one.
  static let bootSeconds = 90.0

  /// A boot to a shell, the disk, and two moves.
  func runShort() {
    let disk = try? TestDisk()
    let network = try? NetworkPeer(busybox: busybox)
    let setup = LinuxGuest.Setup(megabytes: 128, disk: disk?.path, tap: network?.tap)
    withGuest("boots to a shell on the serial console", setup) { guest in
      report.check("reads and writes a virtio disk") {
        try disk.check(in: guest, mounts: false)
      }
      checkMoves(of: guest, setup, network: network)
    }
  }

  /// Everything.
  func runAll() {
    let disk = try? TestDisk()
    let network = Result { try NetworkPeer(busybox: busybox) }
    let setup = LinuxGuest.Setup(
      processors: 2, disk: disk?.path, tap: (try? network.get())?.tap)
    withGuest("boots to a shell on the serial console, with two processors", setup) { guest in
      report.check("runs both processors") { try checkProcessors(of: guest) }
      report.check("reads, writes and mounts a virtio disk") { try disk.check(in: guest) }
      report.check("gets an address over virtio-net and talks") {
        try network.get().check(in: guest)
      }
      report.check("reads entropy") { try checkEntropy(of: guest) }
      report.check("talks over the virtio console") { try checkConsole(of: guest) }
      report.check("keeps time") { try checkClock(of: guest) }
      report.check("inflates and deflates the balloon") { try checkBalloon(of: guest) }
      report.check("reports memory statistics") { try checkStatistics(of: guest) }
      report.check("stands still between stop and cont") { try checkStop(of: guest) }
      report.check("has its memory dumped, as a core file") { try checkDump(of: guest) }
      report.check("boots anew after system_reset") { try checkReset(of: guest) }
      report.check("boots anew after a triple fault") { try checkTripleFault(of: guest) }
      report.check("switches itself off on system_powerdown") { try checkPowerDown(of: guest) }
    }
    withGuest(
      "boots from a bzImage too", LinuxGuest.Setup(endsOnReset: true), kernel: files.bzImage
    ) { guest in
      report.check("resets the machine by itself") { try checkOwnReset(of: guest) }
    }
    // KVM's own, which every kernel here has.
    for source in ["bitmap", "clear", "ring"] {
      let mover = LinuxGuest.Setup(
        megabytes: 128, processors: 2, dirtyLog: source, disk: disk?.path,
        tap: (try? network.get())?.tap)
      withGuest("boots to be moved, its dirty pages learnt by '\(source)'", mover) { guest in
        checkMoves(of: guest, mover, network: try? network.get())
      }
    }
    checkMovesOfQEMU()
  }

  /// Boots a guest, as a check, and goes on with it if that succeeds.
  func withGuest(
    _ name: String, _ setup: LinuxGuest.Setup, in program: GuestProgram? = nil,
    kernel: String? = nil, _ body: (LinuxGuest) -> Void
  ) {
    var guest: LinuxGuest?
    report.check(name) {
      let new = try LinuxGuest(
        program ?? .godwit(godwit), kernel: kernel ?? self.kernel, ramDisk: files.ramDisk, setup)
      try new.waitForShell(seconds: Self.bootSeconds)
      guest = new
      return try new.run("uname -sr")
    }
    if let guest { body(guest) }
  }

  /// A machine that waits for a guest from another one.
  func waiting(in program: GuestProgram, _ setup: LinuxGuest.Setup) throws -> LinuxGuest {
    try LinuxGuest(program, kernel: kernel, ramDisk: files.ramDisk, isWaiting: true, setup)
  }

  /// The image that guests boot: the unpacked one where there is one.
  private var kernel: String {
    FileManager.default.fileExists(atPath: files.kernel) ? files.kernel : files.bzImage
  }

  private func checkProcessors(of guest: LinuxGuest) throws -> String {
    guard try guest.number("nproc") == 2 else { throw LabError("it has one processor") }
    // Each is made to run something, and its interrupts are counted.
    for processor in 0..<2 {
      let ran = try guest.run(
        "taskset \(1 << processor) awk '{print $39}' /proc/self/stat")
      guard ran == "\(processor)" else {
        throw LabError("what was bound to processor \(processor) ran on '\(ran)'")
      }
    }
    let timers = try guest.run("awk '/^ *LOC:/ {print $2, $3}' /proc/interrupts")
      .split(separator: " ")
    guard timers.count == 2, timers.allSatisfy({ (Int($0) ?? 0) > 0 }) else {
      throw LabError("its timers have ticked \(timers) times")
    }
    return ""
  }

  private func checkEntropy(of guest: LinuxGuest) throws -> String {
    let source = try guest.run("cat /sys/class/misc/hw_random/rng_current")
    guard source.hasPrefix("virtio_rng") else {
      throw LabError("its hardware generator is '\(source)'")
    }
    let command = "dd if=/dev/hwrng bs=32 count=1 2>/dev/null | hexdump -ve '1/1 \"%02x\"'"
    let first = try guest.run(command), second = try guest.run(command)
    guard first.count == 64, second.count == 64, first != second else {
      throw LabError("it read '\(first)' and '\(second)'")
    }
    return source
  }

  private func checkConsole(of guest: LinuxGuest) throws -> String {
    let console = try SerialLine(path: guest.directory + "/console")
    try guest.run("seq 1 300 >/dev/hvc0")
    try console.wait(for: "\n299\n300\n", seconds: 30)
    guest.type("read -r word </dev/hvc0")
    usleep(200_000)
    console.send("over the console\n")
    guard try guest.run("echo \"$word\"") == "over the console" else {
      throw LabError("what was typed did not arrive")
    }
    return ""
  }

  private func checkClock(of guest: LinuxGuest) throws -> String {
    let source = try guest.run(
      "cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    let drift = abs(Double(try guest.number("date +%s")) - Date().timeIntervalSince1970)
    // The clock chip's seconds are whole, and Linux starts from them.
    guard drift < 3 else { throw LabError("it is \(drift) s off the host's clock") }
    let chip = try guest.run("hwclock -r -u 2>/dev/null || cat /proc/driver/rtc | head -1")
    guard !chip.isEmpty else { throw LabError("the clock chip cannot be read") }
    return "by \(source)"
  }
}
