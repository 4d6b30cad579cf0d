// What is in a stream or a checkpoint, as tables for a person and as JSON.

import ArgumentParser
import Endpoints
import JSON
import Wire

/// The overview that `inspect` gives.
struct InspectionReport {
  private let inspection: Inspection
  private let listsRuns: Bool

  /// A report, with or without the pages' ranges.
  init(_ inspection: Inspection, listsRuns: Bool) {
    self.inspection = inspection
    self.listsRuns = listsRuns
  }

  /// Writes all of it; ranges as they are found, because there may be millions.
  func write(to console: Console) throws {
    for line in summary + [""] + blockTable.lines { console.print(line) }
    if !inspection.parts.isEmpty {
      for line in [""] + partTable.lines { console.print(line) }
    }
    if !inspection.devices.isEmpty {
      for line in [""] + deviceTable.lines { console.print(line) }
    }
    for note in inspection.notes { console.note(note) }
    if listsRuns {
      console.print("")
      try writeRuns(to: console)
    }
    console.emit("result", members)
  }

  private func writeRuns(to console: Console) throws {
    try inspection.forEachRun { run in
      guard !console.isOutputClosed else { throw ExitCode.success }
      let start = Self.hexadecimal(run.offset)
      let end = Self.hexadecimal(run.offset + run.byteCount - 1)
      console.print("\(run.block)  \(start)-\(end)  \(run.kind.rawValue)")
      console.emit(
        "pages",
        [
          JSONMember("block", .string(run.block)), JSONMember("offset", JSONValue(run.offset)),
          JSONMember("bytes", JSONValue(run.byteCount)),
          JSONMember("kind", .string(run.kind.rawValue)),
        ])
    }
  }

  private var summary: [String] {
    let configuration = inspection.configuration
    var lines: [String] = []
    switch inspection.origin {
    case .stream(let path, let byteCount):
      lines.append("Stream \(path), \(Units.size(byteCount))")
    case .checkpoint(let name): lines.append("Checkpoint \(name)")
    }
    lines.append(
      "Machine \(configuration.machine), pages of \(Units.size(UInt64(inspection.targetPageSize)))")
    if let capabilities = configuration.capabilities, !capabilities.isEmpty {
      lines.append("Capabilities \(capabilities.joined(separator: ", "))")
    }
    if let uuid = configuration.uuid {
      lines.append("UUID \(uuid.map { Self.digits($0) }.joined())")
    }
    return lines
  }

  private var blockTable: Table {
    var table = Table([
      ("RAM BLOCK", .left), ("SIZE", .right), ("ZERO", .right), ("UNIQUE", .right),
      ("SHARED", .right),
    ])
    for block in inspection.blocks {
      let pages = block.pages
      table.add(
        block.name, Units.size(block.byteCount), pages.map { Units.count($0.zero) } ?? "?",
        pages.map { Units.count($0.unique) } ?? "?", pages.map { Units.count($0.shared) } ?? "?")
    }
    return table
  }

  private var partTable: Table {
    var table = Table([("PART", .left), ("COUNT", .right), ("BYTES", .right)])
    for part in inspection.parts {
      table.add(part.name, Units.count(UInt64(part.count)), Units.count(part.byteCount))
    }
    return table
  }

  private var deviceTable: Table {
    var table = Table([
      ("DEVICE", .left), ("INSTANCE", .right), ("VERSION", .right), ("BYTES", .right),
      ("LAYOUT", .left),
    ])
    for device in inspection.devices {
      let header = device.header
      table.add(
        header.name, "\(header.instanceID)", "\(header.versionID)",
        Units.count(UInt64(device.range.count)), device.layout?.name ?? "")
    }
    return table
  }

  private var members: [JSONMember] {
    var members: [JSONMember] = []
    switch inspection.origin {
    case .stream(let path, let byteCount):
      members += [
        JSONMember("file", .string(path)), JSONMember("file_bytes", JSONValue(byteCount)),
      ]
    case .checkpoint(let name): members.append(JSONMember("name", .string(name)))
    }
    let configuration = inspection.configuration
    return members + [
      JSONMember("machine", .string(configuration.machine)),
      JSONMember("page_size", JSONValue(inspection.targetPageSize)),
      JSONMember("capabilities", .array((configuration.capabilities ?? []).map(JSONValue.string))),
      JSONMember("blocks", .array(inspection.blocks.map(Self.object))),
      JSONMember("parts", .array(inspection.parts.map(Self.object))),
      JSONMember("devices", .array(inspection.devices.map { .object($0.jsonMembers) })),
    ]
  }

  private static func object(_ block: InspectedBlock) -> JSONValue {
    .object([
      JSONMember("name", .string(block.name)), JSONMember("bytes", JSONValue(block.byteCount)),
      JSONMember("pages_zero", block.pages.map { JSONValue($0.zero) } ?? .null),
      JSONMember("pages_unique", block.pages.map { JSONValue($0.unique) } ?? .null),
      JSONMember("pages_shared", block.pages.map { JSONValue($0.shared) } ?? .null),
    ])
  }

  private static func object(_ part: InspectedPart) -> JSONValue {
    .object([
      JSONMember("name", .string(part.name)), JSONMember("count", JSONValue(part.count)),
      JSONMember("bytes", JSONValue(part.byteCount)),
    ])
  }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return "0x" + String(repeating: "0", count: max(10 - digits.count, 0)) + digits
  }

  private static func digits(_ byte: UInt8) -> String {
    (byte < 16 ? "0" : "") + String(byte, radix: 16)
  }
}

extension DeviceSection {
  /// The section's header and size.
  var jsonMembers: [JSONMember] {
    [
      JSONMember("name", .string(header.name)),
      JSONMember("instance", JSONValue(UInt64(header.instanceID))),
      JSONMember("version", JSONValue(UInt64(header.versionID))),
      JSONMember("bytes", JSONValue(range.count)),
    ]
  }
}
