// What a lab guest is started with.

import DemoGuest

/// A QEMU, its machine and the guest's workload.
public struct LabConfiguration: Sendable, CustomStringConvertible {
  /// The QEMU.
  public var qemu: QEMU
  /// The machine type and its properties (`-machine`), without the accelerator.
  public var machine: String
  /// The accelerator (`-accel`).
  public var accelerator = "tcg"
  /// The processor (`-cpu`); nil for the machine's own.
  public var processor: String?
  /// Memory, in MiB.
  public var memoryMegabytes = 128
  /// What follows the size in `-m`, from its comma on: slots for more memory.
  public var memoryOptions = ""
  /// More arguments: devices, memory backends.
  public var arguments: [String] = []
  /// The guest's command line.
  public var workload: String

  /// A machine with the workload given; the defaults suit a test of some seconds.
  ///
  /// The guest reports five times a second, so that tests need not wait.
  public init(
    _ qemu: QEMU, machine: String, memoryMegabytes: Int = 128, arguments: [String] = [],
    workload: String = DemoGuest.commandLine(
      memoryMegabytes: 32, rate: 8, check: 64, reportMilliseconds: 200)
  ) {
    self.qemu = qemu
    self.machine = machine
    self.memoryMegabytes = memoryMegabytes
    self.arguments = arguments
    self.workload = workload
    if qemu.architecture == DemoGuest.Architecture.aarch64.rawValue { processor = "cortex-a57" }
  }

  /// The machines that an architecture's guest runs on, by names every QEMU knows.
  public static func machines(_ architecture: DemoGuest.Architecture) -> [String] {
    switch architecture {
    case .x86_64: ["pc", "q35", "microvm"]
    case .aarch64: ["virt"]
    case .mips: ["malta"]
    }
  }

  /// QEMU and machine, as a test's name shows them.
  public var description: String { "\(qemu) \(machine)" }

  /// The guest's architecture; nil where the lab has no guest for this QEMU.
  public var architecture: DemoGuest.Architecture? { .init(rawValue: qemu.architecture) }

  /// The same machine in another QEMU, as a destination needs it.
  public func inside(_ other: QEMU) -> Self {
    var copy = self
    copy.qemu = other
    return copy
  }

  /// QEMU's arguments for this machine with its image and serial port at the paths given: all
  /// but monitor sockets and `-incoming`, so that `godwit start` can be given them as well.
  public func commandLine(image: String, serial: String) -> [String] {
    var words = qemu.command
    words += [
      "-machine", machine, "-accel", accelerator, "-m", "\(memoryMegabytes)M\(memoryOptions)",
    ]
    if let processor { words += ["-cpu", processor] }
    // QEMU's versions and packages differ in microvm's firmware, and so in its ROM's size.
    if machine.hasPrefix("microvm") { words += ["-bios", "qboot.rom"] }
    words += ["-nodefaults", "-display", "none", "-serial", "file:\(serial)"]
    words += ["-kernel", image, "-append", workload]
    return words + arguments
  }
}
