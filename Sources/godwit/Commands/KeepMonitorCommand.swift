// The process that keeps a monitor open for `--recover`; restore and start start it, not people.

import ArgumentParser
import Endpoints

struct KeepMonitorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keep-monitor",
    abstract: "Keep a QEMU's monitor open while its guest may wait for pages.",
    shouldDisplay: false)

  /// How this very executable is started as the keeper; the socket's path follows.
  static let line = ["/proc/self/exe", "keep-monitor"]

  @Argument(help: "Where to hand the monitor's connection over.")
  var socketPath: String

  func run() { MonitorKeeper.serve(socketPath: socketPath) }
}
