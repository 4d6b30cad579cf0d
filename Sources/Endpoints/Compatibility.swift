// Whether a QEMU can take a checkpoint: found out before anything runs, with what to change.

/// A RAM block as a checkpoint holds it or a QEMU offers it.
struct RAMBlockFact: Sendable, Equatable {
  var name: String
  /// Bytes in use.
  var usedLength: UInt64
  /// Bytes it may grow to by a resize (firmware tables, option ROMs).
  var maxLength: UInt64
}

/// What must be known of a QEMU started with `-incoming defer` to tell whether a checkpoint fits.
struct DestinationFacts: Sendable, Equatable {
  /// QEMU's version, as people write it.
  var version: String
  /// Target architecture, as QEMU names it (`x86_64`).
  var architecture: String
  /// Machine type, without the `-machine` suffix of its class.
  var machine: String
  /// Machine types this QEMU knows.
  var knownMachines: [String]
  var blocks: [RAMBlockFact]
  /// Addresses (`0000:00:02.0`) of the PCI devices on the root bus; nil where the machine has none
  /// or the QEMU does not tell.
  var pciAddresses: Set<String>?
}

/// What must be known of a checkpoint, or of a machine that is to be moved, for the same question.
struct CheckpointFacts: Sendable, Equatable {
  /// What holds the machine, as sentences call it.
  var holder = "checkpoint"
  var name: String
  var qemuVersion: String
  var architecture: String
  var machine: String
  var blocks: [RAMBlockFact]
  /// The `idstr` of every device section.
  var sections: [String]
}

/// The differences that would make QEMU refuse the stream or break the guest.
enum Compatibility {
  /// Every mismatch as a sentence that says what to change; empty when the checkpoint fits.
  static func mismatches(of checkpoint: CheckpointFacts, in qemu: DestinationFacts) -> [String] {
    if let sentence = mixture(of: checkpoint, in: qemu) { return [sentence] }
    if !checkpoint.architecture.isEmpty, checkpoint.architecture != qemu.architecture {
      return [
        "The guest is of architecture \(checkpoint.architecture), this QEMU emulates "
          + "\(qemu.architecture): start qemu-system-\(checkpoint.architecture)."
      ]
    }
    if let sentence = machineMismatch(of: checkpoint, in: qemu) { return [sentence] }
    return blockMismatches(of: checkpoint, in: qemu) + deviceMismatches(of: checkpoint, in: qemu)
  }

  /// Whether a machine of this type is one of Godwit's own.
  static func isGodwit(_ machine: String) -> Bool { machine.hasPrefix("godwit-") }

  /// A machine of Godwit's own for a QEMU, or the other way round.
  private static func mixture(
    of checkpoint: CheckpointFacts, in qemu: DestinationFacts
  ) -> String? {
    let (isGodwit, wantsGodwit) = (isGodwit(checkpoint.machine), isGodwit(qemu.machine))
    // Who does not know its own type is asked for its blocks.
    guard isGodwit != wantsGodwit, !checkpoint.machine.isEmpty, !qemu.machine.isEmpty else {
      return nil
    }
    let (kind, other) = ("a machine of `godwit vm run`", "a machine of QEMU")
    return "The \(checkpoint.holder) is \(isGodwit ? kind : other) (\(checkpoint.machine)) and "
      + "this is \(wantsGodwit ? kind : other) (\(qemu.machine)): the two kinds do not mix. Use "
      + "\(isGodwit ? kind : other) that waits for it."
  }

  private static func machineMismatch(
    of checkpoint: CheckpointFacts, in qemu: DestinationFacts
  ) -> String? {
    guard checkpoint.machine != qemu.machine else { return nil }
    guard !isGodwit(qemu.machine) else {
      return
        "The \(checkpoint.holder) is of machine type \(checkpoint.machine), this machine is of "
        + "type \(qemu.machine): use the godwit that made it, or another of the same machine type."
    }
    guard qemu.knownMachines.isEmpty || qemu.knownMachines.contains(checkpoint.machine) else {
      return "The \(checkpoint.holder) is of machine type \(checkpoint.machine) (of QEMU "
        + "\(checkpoint.qemuVersion)), which QEMU \(qemu.version) does not know: start a QEMU of "
        + "at least that version with -machine \(checkpoint.machine)."
    }
    return
      "The \(checkpoint.holder) is of machine type \(checkpoint.machine), this QEMU was started "
      + "as \(qemu.machine): start it with -machine \(checkpoint.machine)."
  }

  private static func blockMismatches(
    of checkpoint: CheckpointFacts, in qemu: DestinationFacts
  ) -> [String] {
    let offered = Dictionary(qemu.blocks.map { ($0.name, $0) }, uniquingKeysWith: { a, _ in a })
    let wanted = Set(checkpoint.blocks.map(\.name))
    var sentences: [String] = []
    let isGodwit = isGodwit(qemu.machine)
    let here = isGodwit ? "machine" : "QEMU"
    for block in checkpoint.blocks {
      guard let other = offered[block.name] else {
        sentences.append(
          "RAM block \(block.name) (\(ByteCount.text(block.usedLength))) of the "
            + "\(checkpoint.holder) does not exist in this \(here), which has "
            + "\(names(qemu.blocks)): give it the memory backends and devices of the "
            + "\(checkpoint.holder), with the same ids.")
        continue
      }
      let fits =
        other.usedLength == block.usedLength
        || (other.maxLength > other.usedLength && block.usedLength <= other.maxLength)
      if !fits {
        let remedy = remedy(for: block, of: checkpoint, isGodwit: isGodwit)
        sentences.append(
          "RAM block \(block.name) has \(ByteCount.text(block.usedLength)) in the "
            + "\(checkpoint.holder) and \(ByteCount.text(other.usedLength)) in this "
            + "\(here): \(remedy).")
      }
    }
    for block in qemu.blocks where !wanted.contains(block.name) {
      sentences.append(
        "This \(here) has a RAM block \(block.name) (\(ByteCount.text(block.usedLength))) that the "
          + "\(checkpoint.holder) does not have: leave out the device or memory backend it belongs "
          + "to.")
    }
    return sentences
  }

  /// What gives a destination a block of the right length.
  private static func remedy(
    for block: RAMBlockFact, of checkpoint: CheckpointFacts, isGodwit: Bool
  ) -> String {
    switch (block == checkpoint.blocks.first, isGodwit) {
    case (true, true): "start it with --memory \(ByteCount.megabytes(block.usedLength))"
    case (true, false): "start it with -m \(ByteCount.megabytes(block.usedLength))"
    case (false, true): "start it with the options of the \(checkpoint.holder)"
    case (false, false):
      "start it with the \(checkpoint.holder)'s device, memory backend or firmware (-bios, -L)"
    }
  }

  private static func deviceMismatches(
    of checkpoint: CheckpointFacts, in qemu: DestinationFacts
  ) -> [String] {
    guard let addresses = qemu.pciAddresses else { return [] }
    var sentences: [String] = []
    var needed: Set<String> = []
    for section in checkpoint.sections {
      guard let slash = section.firstIndex(of: "/") else { continue }
      let address = String(section[..<slash])
      guard isRootPCIAddress(address), needed.insert(address).inserted else { continue }
      if !addresses.contains(address) {
        let device = section[section.index(after: slash)...]
        sentences.append(
          "The \(checkpoint.holder) has a device '\(device)' at PCI address \(address), where "
            + "this QEMU has none: start it with the \(checkpoint.holder)'s devices, in the same "
            + "slots.")
      }
    }
    return sentences
  }

  /// `0000:00:1f.2`: domain, bus 0, device and function.
  private static func isRootPCIAddress(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    return bytes.count == 12 && text.hasPrefix("0000:00:")
      && bytes[10] == UInt8(ascii: ".")
  }

  private static func names(_ blocks: [RAMBlockFact]) -> String {
    blocks.map(\.name).joined(separator: ", ")
  }
}
