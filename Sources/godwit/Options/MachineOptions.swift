// What a machine of Godwit's own is made of, as options.

import ArgumentParser
import Devices
import DirtyTracking
import MigrationEngine
import Transport
import VMM

/// The machine itself.
struct MachineOptions: ParsableArguments, Sendable {
  @Option(
    help: ArgumentHelp("The guest's memory: 512M, 4G; a multiple of 2M.", valueName: "size"))
  var memory: MemorySize

  @Option(help: ArgumentHelp("How many processors it has.", valueName: "number"))
  var cpus = 1

  @Option(
    help: ArgumentHelp(
      "What runs them: kvm, or synthetic, a stand-in that only imitates --demo-guest.",
      valueName: "kvm|synthetic"))
  var accel = AcceleratorKind.kvm

  @Option(
    help: ArgumentHelp(
      "How dirty pages are learnt. (default: the best that this host has)",
      valueName: "bitmap|clear|ring|write-protect"))
  var dirtyLog: DirtyLogKind?

  @Option(
    help: ArgumentHelp("Where QMP clients connect; several at a time.", valueName: "socket"),
    completion: .file())
  var qmp: String?

  @Option(help: ArgumentHelp("The machine's name, for QMP clients.", valueName: "name"))
  var name: String?

  @Option(help: ArgumentHelp("The machine's UUID, for QMP clients.", valueName: "uuid"))
  var uuid: String?

  @Option(
    help: ArgumentHelp(
      "Wait for a machine's state: from tcp:…, unix:…, fd:…, exec:… or file:…, or defer, until "
        + "migrate-incoming says.", valueName: "uri|defer"))
  var incoming: String?

  @Option(
    help: ArgumentHelp(
      "Pages that are held here already and need not travel to a machine that waits, with the "
        + "capability x-known-pages: a checkpoint of the store, a memory dump, an image of "
        + "memory. May be given several times.",
      valueName: "checkpoint:NAME|elf:FILE|raw:FILE"))
  var known: [String] = []

  @Flag(help: "Wait for `cont` before the first instruction.")
  var paused = false

  @Flag(help: "Hold the memory in a memfd that other processes can map.")
  var shareMemory = false

  @Flag(help: "Make the memory of the host's huge pages of 2 MiB, all set aside at once.")
  var hugePages = false

  @Flag(help: "End the machine where its guest wants to be reset.")
  var noReboot = false

  @Flag(help: "Keep the machine for inspection when its guest switches itself off.")
  var noShutdown = false

  /// Where QMP clients connect: `unix:` may stand before the path, as where one is connected to.
  func qmpAddress() throws -> MigrationURI? {
    guard let qmp else { return nil }
    do throws(TransportError) {
      return try MigrationURI("unix:\(qmp.trimmingPrefix("unix:"))")
    } catch {
      guard case .badURI(_, let reason) = error else { throw error }
      throw ValidationError("--qmp takes the path of a Unix socket: \(reason).")
    }
  }

  /// Puts the options into a configuration; checkpoints are looked for in `store`.
  func apply(to configuration: inout MachineConfiguration, store: String) throws {
    guard (1...64).contains(cpus) else {
      throw ValidationError("--cpus takes a number from 1 to 64.")
    }
    configuration.processorCount = cpus
    configuration.accelerator = accel
    configuration.dirtyLog = dirtyLog
    configuration.name = name
    configuration.uuid = uuid
    configuration.incoming = incoming.map { $0 == "defer" ? .deferred : .uri($0) }
    configuration.known = try known.map { text in
      guard let place = KnownContentPlace(text, store: store) else {
        throw ValidationError(
          "--known takes checkpoint:NAME, elf:FILE or raw:FILE, not '\(text)'.")
      }
      return place
    }
    guard known.isEmpty || incoming != nil else {
      throw ValidationError("--known goes with --incoming: only a machine that arrives needs it.")
    }
    configuration.startsPaused = paused
    configuration.sharesMemory = shareMemory
    configuration.usesHugePages = hugePages
    configuration.endsOnReset = noReboot
    configuration.staysOnShutdown = noShutdown
  }
}

/// What the machine boots.
struct BootOptions: ParsableArguments, Sendable {
  @Option(
    help: ArgumentHelp(
      "A kernel: a Linux bzImage or vmlinux, or an ELF file with a PVH entry.", valueName: "file"),
    completion: .file())
  var kernel: String?

  @Option(
    help: ArgumentHelp("The kernel's initial RAM disk.", valueName: "file"), completion: .file())
  var initrd: String?

  @Option(help: ArgumentHelp("The kernel's command line.", valueName: "words"))
  var append: String?

  @Option(
    help: ArgumentHelp(
      "Bytes put at --flat-address and entered there in 64-bit mode.", valueName: "file"),
    completion: .file())
  var flat: String?

  @Option(
    help: ArgumentHelp("Where --flat goes, as 0x…; 1 MiB by default.", valueName: "address"))
  var flatAddress: HexadecimalNumber = HexadecimalNumber(0x10_0000)

  @Flag(help: "Boot the guest that writes and checks its own memory.")
  var demoGuest = false

  @Option(help: ArgumentHelp("How much memory it rewrites.", valueName: "MiB/s"))
  var demoRate = 10

  @Option(
    help: ArgumentHelp(
      "In which order: seq, one after the other, or random.",
      valueName: "seq|random"))
  var demoPattern = DemonstrationPattern.random

  @Option(
    help: ArgumentHelp("How much memory it uses. (default: all there is)", valueName: "MiB"))
  var demoMemory = 0

  @Option(
    help: ArgumentHelp(
      "How much of it it checks. (default: an eighth of its memory in a second)",
      valueName: "MiB/s"))
  var demoCheck: Int?

  @Option(
    help: ArgumentHelp(
      "How much of that it declares free once it is filled: nobody needs it, and it stays here.",
      valueName: "percent"))
  var demoFree = 0

  @Option(
    help: ArgumentHelp(
      "How much of what is free it uses again, until all is and it declares it free anew.",
      valueName: "MiB/s"))
  var demoReuse = 0

  /// What the options say.
  func source() throws -> MachineConfiguration.BootSource {
    let given = [kernel != nil, flat != nil, demoGuest].count { $0 }
    guard given <= 1 else {
      throw ValidationError("Of --kernel, --flat and --demo-guest only one can be booted.")
    }
    guard kernel != nil || (initrd == nil && append == nil) else {
      throw ValidationError("--initrd and --append go with --kernel.")
    }
    if let kernel {
      return .kernel(path: kernel, initrd: initrd, commandLine: append ?? "")
    }
    if let flat { return .flat(path: flat, address: flatAddress.value) }
    guard demoGuest else { return .nothing }
    guard demoRate >= 0, demoRate <= 1 << 20, demoMemory >= 0, demoMemory <= 1 << 20 else {
      throw ValidationError("--demo-rate and --demo-memory take numbers up to 1048576.")
    }
    guard (0...100).contains(demoFree), (0...1 << 20).contains(demoReuse) else {
      throw ValidationError(
        "--demo-free takes a number from 0 to 100, --demo-reuse one up to 1048576.")
    }
    if let demoCheck, !(0...1 << 20).contains(demoCheck) {
      throw ValidationError("--demo-check takes a number up to 1048576.")
    }
    var workload = MachineConfiguration.Workload()
    workload.checkedMegabytesPerSecond = demoCheck
    workload.freePercent = demoFree
    workload.reusedMegabytesPerSecond = demoReuse
    workload.megabytesPerSecond = demoRate
    workload.memoryMegabytes = demoMemory
    workload.isRandom = demoPattern == .random
    return .demonstration(workload)
  }
}

/// The machine's devices.
struct DeviceOptions: ParsableArguments, Sendable {
  @Option(
    help: ArgumentHelp(
      "A raw disk image or block device, as /dev/vda upwards; ',readonly' behind it.",
      valueName: "file"),
    completion: .file())
  var disk: [String] = []

  @Option(help: ArgumentHelp("A tap device for a network interface.", valueName: "name"))
  var tap: [String] = []

  @Option(
    help: ArgumentHelp(
      "Where the serial port leads: none, stdio, file:PATH or unix:PATH. "
        + "(default: stdio, with --json none)",
      valueName: "none|stdio|file:…|unix:…"))
  var serial: CharacterBackend?

  @Option(
    help: ArgumentHelp(
      "Where the virtio console (hvc0) leads.", valueName: "none|stdio|file:…|unix:…"))
  var console: CharacterBackend?

  /// Puts the options into a configuration.
  func apply(to configuration: inout MachineConfiguration, isJSON: Bool) {
    configuration.disks = disk.map { text in
      let isReadOnly = text.hasSuffix(",readonly")
      let path = isReadOnly ? String(text.dropLast(",readonly".count)) : text
      return MachineConfiguration.Disk(path: path, isReadOnly: isReadOnly)
    }
    configuration.taps = tap
    configuration.console = console ?? .none
    configuration.serial = serial ?? (isJSON ? .none : .stdio)
  }
}

/// The order in which the demo guest's writer goes over its pages.
enum DemonstrationPattern: String, ExpressibleByArgument, CaseIterable {
  case sequential = "seq"
  case random
}

/// A number that people write in hexadecimal.
struct HexadecimalNumber: ExpressibleByArgument, Sendable, CustomStringConvertible {
  let value: UInt64

  init(_ value: UInt64) {
    self.value = value
  }

  init?(argument: String) {
    let isHexadecimal = argument.lowercased().hasPrefix("0x")
    guard let value = isHexadecimal ? UInt64(argument.dropFirst(2), radix: 16) : UInt64(argument)
    else { return nil }
    self.value = value
  }

  var description: String { "0x" + String(value, radix: 16) }
}
