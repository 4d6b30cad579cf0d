// From asking for a machine to its guest's first instructions.

import Dispatch
import Foundation
import VMM

/// A machine whose guest switches it off with its first instructions.
enum StartRun {
  /// The most milliseconds that a start may take.
  static let bar = 30.0

  /// Writes 0x3400 to port 0x604, which is power-off: the guest's third instruction.
  private static let program: [UInt8] = [
    0x66, 0xBA, 0x04, 0x06, 0x66, 0xB8, 0x00, 0x34, 0x66, 0xEF, 0xF4, 0xEB, 0xFD,
  ]

  /// Makes, starts and awaits a machine; the time until its guest's end was known.
  static func milliseconds(megabytes: UInt64) throws -> Double {
    let path = NSTemporaryDirectory() + "machine-bench-\(UUID().uuidString)"
    try Data(program).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    var configuration = MachineConfiguration(memoryByteCount: megabytes << 20)
    configuration.boot = .flat(path: path, address: 0x20_0000)
    // Kept, so that taking it apart is not measured.
    configuration.staysOnShutdown = true
    let ended = DispatchSemaphore(value: 0)
    let start = ContinuousClock.now
    let machine = try Machine(configuration)
    _ = machine.observe { event in
      if case .shutdown(byGuest: true, _) = event { ended.signal() }
    }
    try machine.launch()
    ended.wait()
    let time = ContinuousClock.now - start
    machine.quit()
    return time / .milliseconds(1)
  }
}
