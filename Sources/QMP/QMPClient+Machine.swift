// What machine it is: type, accelerator, processors, disks, memory, devices on its buses.

public import JSON

/// A vCPU of a machine.
public struct CPUInfo: Equatable, Sendable {
  /// Its number, from 0.
  public var index: Int
  /// The host's thread that runs it.
  public var threadIdentifier: Int
  /// Its place in QEMU's object tree.
  public var objectPath: String
}

/// A drive of a machine.
public struct BlockDeviceInfo: Equatable, Sendable {
  /// Its name: the drive's, or where it has none the place of its device in the object tree.
  public var name: String
  /// The image behind it; nil for an empty drive.
  public var file: String?
  /// Whether there is a medium that the guest can change.
  public var isWritable: Bool
}

/// A memory backend of a machine.
public struct MemoryBackendInfo: Equatable, Sendable {
  /// Its name; nil for one without.
  public var identifier: String?
  /// Its size in bytes.
  public var byteCount: UInt64
  /// Whether it is mapped shared, so that its file holds what the guest writes.
  public var isShared: Bool
}

/// A machine type that a QEMU knows.
public struct MachineTypeInfo: Equatable, Sendable {
  /// Its name, such as `pc-i440fx-7.2`.
  public var name: String
  /// A second name for the newest of a family, such as `pc`.
  public var alias: String?
  /// Whether QEMU takes it where none is named.
  public var isDefault: Bool
  /// Whether QEMU warns that it will go.
  public var isDeprecated: Bool
  /// The RAM block that `-m` makes, such as `pc.ram`; nil where the machine has none of the kind.
  public var defaultRAMIdentifier: String?
}

extension QMPClient {
  /// The machine type, as migration streams name it, such as `pc-i440fx-7.2`.
  public func machineType() async throws(QMPError) -> String {
    let reply = try await reply("qom-get", ["path": "/machine", "property": "type"])
    let name = try reply.require(reply.value.string, "a machine type")
    let suffix = "-machine"
    return name.hasSuffix(suffix) ? String(name.dropLast(suffix.count)) : name
  }

  /// Every machine type this QEMU knows: `query-machines`.
  public func machineTypes() async throws(QMPError) -> [MachineTypeInfo] {
    var types: [MachineTypeInfo] = []
    for entry in try await reply("query-machines").list() {
      types.append(
        MachineTypeInfo(
          name: try entry.string("name"), alias: entry.value["alias"]?.string,
          isDefault: entry.value["is-default"]?.bool ?? false,
          isDeprecated: entry.value["deprecated"]?.bool ?? false,
          defaultRAMIdentifier: entry.value["default-ram-id"]?.string))
    }
    return types
  }

  /// Whether KVM runs the vCPUs: `query-kvm`.
  public func isKVMEnabled() async throws(QMPError) -> Bool {
    try await reply("query-kvm").bool("enabled")
  }

  /// The guest's architecture as QEMU names it, such as `x86_64`: `query-target`.
  public func targetArchitecture() async throws(QMPError) -> String {
    try await reply("query-target").string("arch")
  }

  /// The name given with `-name`; nil for none: `query-name`.
  public func guestName() async throws(QMPError) -> String? {
    try await reply("query-name").value["name"]?.string
  }

  /// `query-current-machine`, as it is answered.
  public func currentMachine() async throws(QMPError) -> JSONValue {
    try await execute("query-current-machine")
  }

  /// The vCPUs, without interrupting them: `query-cpus-fast`.
  public func processors() async throws(QMPError) -> [CPUInfo] {
    var processors: [CPUInfo] = []
    for entry in try await reply("query-cpus-fast").list() {
      processors.append(
        CPUInfo(
          index: try entry.int("cpu-index"), threadIdentifier: try entry.int("thread-id"),
          objectPath: try entry.string("qom-path")))
    }
    return processors
  }

  /// The drives: `query-block`.
  public func blockDevices() async throws(QMPError) -> [BlockDeviceInfo] {
    var devices: [BlockDeviceInfo] = []
    for entry in try await reply("query-block").list() {
      let drive = entry.value["device"]?.string ?? ""
      let medium = entry.value["inserted"]
      devices.append(
        BlockDeviceInfo(
          name: drive.isEmpty ? entry.value["qdev"]?.string ?? "a drive without a name" : drive,
          file: medium?["file"]?.string,
          isWritable: medium.map { $0["ro"]?.bool != true } ?? false))
    }
    return devices
  }

  /// The drives whose medium the guest can change.
  public func writableDisks() async throws(QMPError) -> [BlockDeviceInfo] {
    try await blockDevices().filter(\.isWritable)
  }

  /// The memory backends: `query-memdev`.
  public func memoryBackends() async throws(QMPError) -> [MemoryBackendInfo] {
    var backends: [MemoryBackendInfo] = []
    for entry in try await reply("query-memdev").list() {
      backends.append(
        MemoryBackendInfo(
          identifier: entry.value["id"]?.string,
          byteCount: try entry.require(entry.value["size"]?.uint64, "size"),
          isShared: entry.value["share"]?.bool ?? false))
    }
    return backends
  }

  /// The PCI buses and what is on them: `query-pci`, as it is answered; an empty list where the
  /// machine has no PCI (microvm) or this QEMU was built without.
  public func pciBuses() async throws(QMPError) -> JSONValue {
    do throws(QMPError) {
      return try await execute("query-pci")
    } catch .refused(_, "CommandNotFound", _) {
      return []
    }
  }
}
