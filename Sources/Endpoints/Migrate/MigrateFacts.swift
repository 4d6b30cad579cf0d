// What must be known of both ends of a move before it begins, learnt by asking them.

import Foundation
import JSON
import QMP

/// One end of a move, as it answers.
struct MigrateFacts: Sendable, Equatable {
  /// Its QMP address, as the person wrote it.
  var address: String
  /// Its version.
  var version: QEMUVersion
  /// Whether KVM runs its vCPUs.
  var isKVM: Bool
  /// Whether it runs, and why not.
  var runState: RunState
  /// How far its latest migration is.
  var migration: MigrationStatus
  /// What forbids it to migrate at present.
  var blockedReasons: [String]
  /// Its process, where the monitor is a Unix socket of this host.
  var process: Int32?
  /// Whether it is on another host.
  var isRemote = false
  /// Whether it is known to find files as this process does: by the same names, as the same user.
  var sharesFiles = false
  /// The capabilities that it knows, and which are on.
  var capabilities: [String: Bool]
  /// The names of the parameters that it knows.
  var parameters: Set<String>
  /// The machine's type, memory and devices.
  var machine: DestinationFacts
  /// How many vCPUs it has.
  var processorCount: Int
  /// The images behind the disks that its guest can write to, by the disk's name.
  var disks: [String: String]

  /// How it is called in a sentence.
  var name: String { "\(version.isGodwit ? "Godwit" : "QEMU") \(version)" }

  /// Asks the endpoint behind `client`.
  init(of client: QMPClient) async throws {
    address = client.address
    version = client.version
    process = client.peerProcess
    isRemote = client.isForwarded
    sharesFiles = process.map(Self.sharesFiles) ?? false
    runState = try await client.runState()
    let migration = try await client.migration()
    self.migration = migration.status
    blockedReasons = migration.blockedReasons
    isKVM = try await client.isKVMEnabled()
    capabilities = try await client.migrationCapabilities()
    parameters = Set(try await client.migrationParameters().map(\.name))
    machine = try await DestinationFacts(of: client)
    processorCount = try await client.processors().count
    disks = Dictionary(
      try await client.writableDisks().map { ($0.name, $0.file ?? "") },
      uniquingKeysWith: { first, _ in first })
  }

  private static func sharesFiles(_ process: Int32) -> Bool {
    func link(_ process: String, _ name: String) -> String? {
      try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/\(name)")
    }
    let owner = try? FileManager.default.attributesOfItem(atPath: "/proc/\(process)")
    guard (owner?[.ownerAccountID] as? NSNumber)?.uint32Value == geteuid() else { return false }
    return ["ns/mnt", "root"].allSatisfy { name in
      link("\(process)", name).map { $0 == link("self", name) } ?? false
    }
  }

  /// Whether it is what a machine left behind in a process of Godwit's own, which takes it back.
  var isLeftBehind: Bool {
    version.isGodwit && runState.status == "postmigrate" && migration.isTerminal
  }

  /// Facts as a test states them.
  init(
    address: String, version: QEMUVersion, isKVM: Bool, runState: RunState,
    migration: MigrationStatus = .none, process: Int32? = nil, capabilities: [String: Bool],
    parameters: Set<String>, machine: DestinationFacts, processorCount: Int = 1,
    disks: [String: String] = [:]
  ) {
    self.address = address
    self.version = version
    self.isKVM = isKVM
    self.runState = runState
    self.migration = migration
    blockedReasons = []
    self.process = process
    self.capabilities = capabilities
    self.parameters = parameters
    self.machine = machine
    self.processorCount = processorCount
    self.disks = disks
  }

  /// Whether a live precopy of its machine carries every write of the guest.
  ///
  /// See ``SourceFacts/precopyIsSound``.
  var precopyIsSound: Bool { isKVM || version.major >= 10 }
}
