// Checks of what stops the guest, starts it anew and ends it.

import Foundation
import JSON
import QEMULab

extension LinuxChecks {
  /// A counter that the guest drives stands still while the machine is stopped, and goes on.
  func checkStop(of guest: LinuxGuest) throws -> String {
    try guest.run("(while true; do date +%s.%N >/tmp/now; done) & echo $! >/tmp/counter")
    for _ in 0..<5 {
      let events = guest.qmp.events.count
      try guest.qmp.execute("stop")
      try guest.wait(forEvent: "STOP", after: events)
      let before = try memorySample(guest)
      usleep(300_000)
      guard try memorySample(guest) == before else {
        throw LabError("the guest's memory changed while the machine was stopped")
      }
      try guest.qmp.execute("cont")
      try guest.wait(forEvent: "RESUME", after: events)
      try guest.run("true")
    }
    try guest.run("kill $(cat /tmp/counter)")
    return "five times"
  }

  /// The vCPUs' registers and the host's count of their time: what a running guest changes.
  private func memorySample(_ guest: LinuxGuest) throws -> String {
    try guest.qmp.monitor("info registers -a")
  }

  /// The machine's button: it boots again to a shell, having forgotten everything.
  func checkReset(of guest: LinuxGuest) throws -> String {
    try guest.run("touch /tmp/remember")
    let events = guest.qmp.events.count
    try guest.qmp.execute("system_reset")
    try guest.wait(forEvent: "RESET", after: events)
    try guest.waitForShell(seconds: Self.bootSeconds)
    guard try guest.run("ls /tmp") == "" else { throw LabError("it remembers its last life") }
    let up = try guest.number("cut -d. -f1 /proc/uptime")
    guard up < Int(Self.bootSeconds) else { throw LabError("it is up for \(up) s") }
    return ""
  }

  /// A reset by a triple fault, as a kernel does it that knows no better way: the machine boots
  /// again, and the timers of all processors are on time.
  func checkTripleFault(of guest: LinuxGuest) throws -> String {
    let events = guest.qmp.events.count
    try guest.run("echo triple >/sys/kernel/reboot/type")
    guest.type("reboot -f")
    try guest.wait(forEvent: "RESET", after: events)
    try guest.waitForShell(seconds: Self.bootSeconds)
    var longest = 0.0
    for processor in 0..<2 {
      let start = Date()
      try guest.run("taskset \(1 << processor) sleep 1")
      longest = max(longest, -start.timeIntervalSinceNow)
    }
    // What a lost offset of the counter adds is as long as the host has run.
    guard longest < 4 else { throw LabError("a second's sleep took \(longest) s") }
    return String(format: "a second's sleep takes %.1f s", longest)
  }

  /// The guest's own reset, by whichever way its kernel prefers; the program is to end at one.
  func checkOwnReset(of guest: LinuxGuest) throws -> String {
    guest.type("reboot -f")
    let status = try guest.waitForEnd(seconds: 30)
    guard status == 0 else { throw LabError("the program ended with \(status): \(guest.log)") }
    return ""
  }

  /// The power button: Linux is told, switches the machine off, and the program ends.
  func checkPowerDown(of guest: LinuxGuest) throws -> String {
    let events = guest.qmp.events.count
    try guest.qmp.execute("system_powerdown")
    try guest.wait(forEvent: "POWERDOWN", after: events)
    let status = try guest.waitForEnd(seconds: 30)
    guard status == 0 else { throw LabError("the program ended with \(status): \(guest.log)") }
    return ""
  }
}
