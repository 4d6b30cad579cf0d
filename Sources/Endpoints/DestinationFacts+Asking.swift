// A machine's type, memory and devices, learnt from its monitor.

import JSON
import QMP

extension DestinationFacts {
  /// Asks the endpoint behind `client` what machine it is.
  init(of client: QMPClient) async throws {
    let blocks = try await client.ramBlocks()
    self.init(
      version: "\(client.version)", architecture: try await client.targetArchitecture(),
      machine: try await client.machineType(),
      knownMachines: try await client.machineTypes().map(\.name),
      blocks: blocks.map {
        RAMBlockFact(name: $0.name, usedLength: $0.usedByteCount, maxLength: $0.maximumByteCount)
      },
      pciAddresses: try await Self.pciAddresses(client))
  }

  private static func pciAddresses(_ client: QMPClient) async throws -> Set<String>? {
    guard let root = try await client.pciBuses()[0]?["devices"]?.array else { return nil }
    return Set(
      root.compactMap { device in
        guard let slot = device["slot"]?.int, let function = device["function"]?.int else {
          return nil
        }
        let digits = String(slot, radix: 16)
        return "0000:00:\(digits.count < 2 ? "0" : "")\(digits).\(function)"
      })
  }
}

extension CheckpointFacts {
  /// The facts of a machine that is to be moved.
  init(_ source: MigrateFacts) {
    self.init(
      holder: "source", name: source.address, qemuVersion: "\(source.version)",
      architecture: source.machine.architecture, machine: source.machine.machine,
      blocks: source.machine.blocks,
      sections: (source.machine.pciAddresses ?? []).sorted().map { "\($0)/device" })
  }
}
