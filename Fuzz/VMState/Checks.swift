// Checks.swift: what has to hold for every input.

import FuzzFrame
import VMState
import VMStateLab
import Wire

extension FuzzVMState {
  /// Loads an input in the way that it is meant for.
  static func check(
    _ kind: Kind, _ input: [UInt8], _ random: inout SplitMix, isCanary: Bool
  ) throws {
    switch kind {
    case .section: try checkSection(input, version: 2, isCanary: isCanary)
    case .first: try checkSection(input, version: 1, isCanary: isCanary)
    case .machine: try checkMachine(DeviceState(bytes: input, description: nil))
    case .described:
      guard input.count >= 4 else { return }
      let size = input[..<4].reduce(0) { $0 << 8 | Int($1) }
      let end = min(input.count, 4 + size)
      try checkMachine(
        DeviceState(bytes: Array(input[4..<end]), description: Array(input[end...])))
    }
  }

  private static func checkSection(_ input: [UInt8], version: Int, isCanary: Bool) throws {
    let state: Sample
    do {
      state = try Sample.description.decode(input[...], version: version, into: Sample())
    } catch {
      guard error.offset ?? 0 <= input.count, error.device == "sample" else {
        throw Finding(description: "an error in the wrong place: \(error)")
      }
      return
    }
    guard let saved = try Sample.description.encode(state) else {
      throw Finding(description: "a state that was read is not written")
    }
    let again = try Sample.description.decode(
      isCanary ? saved.payload.dropLast() : saved.payload[...], version: 2, into: Sample())
    guard again == state else {
      throw Finding(description: "a state that does not come back: \(state) and \(again)")
    }
    // Only unused room and the order of subsections may differ.
    guard version == 1 || saved.payload.count == input.count else {
      throw Finding(description: "read \(input.count) bytes, wrote \(saved.payload.count)")
    }
  }

  private static func checkMachine(_ state: DeviceState) throws {
    let machine = SampleMachine()
    let registry = try machine.registry()
    do {
      try registry.load(state)
    } catch {
      guard machine.first.current == Sample(), machine.second.current == Sample(),
        machine.currentRunState == "paused"
      else { throw Finding(description: "half a machine was loaded: \(error)") }
      return
    }
    let saved = try registry.save()
    let other = SampleMachine()
    try other.registry().load(saved)
    guard other.first.current == machine.first.current,
      other.second.current == machine.second.current,
      other.currentRunState == machine.currentRunState
    else { throw Finding(description: "a machine that does not come back") }
    for section in try saved.sections() {
      for field in try section.fields() where field.type == "undescribed" {
        throw Finding(description: "\(section.header.name) has bytes in no field")
      }
    }
  }
}
