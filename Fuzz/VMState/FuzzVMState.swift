// FuzzVMState.swift: the fuzz target of VMState: loading what a peer or a file says.

import FuzzFrame
import VMState
import VMStateLab
import Wire

/// Feeds damaged device state to descriptions, again and again.
///
/// What is refused must leave every device as it was; what is accepted must be written again as
/// the very bytes that were read, where one form on the wire is the only one.
@main
enum FuzzVMState: FuzzTarget {
  /// What reads an input; the extension of its file says so.
  enum Kind: String, CaseIterable {
    /// One device's section, of version 2.
    case section
    /// One device's section, of version 1.
    case first
    /// A whole machine's sections, header to footer, without their description.
    case machine
    /// The same with their description: four bytes of the sections' size before them.
    case described
  }

  static let name = "fuzz-vmstate"
  static let file = #filePath
  static let memoryLimit = 128

  static let tokens: [[UInt8]] =
    [
      [0], [1], [2], [4], [5], [9], [0x7e], [0xff], [0x7f], [0x80], [0, 0, 0, 0],
      [0xff, 0xff, 0xff, 0xff], [0x7f, 0xff, 0xff, 0xff], [0, 0, 2, 0], [0, 0, 0, 1], [0, 0, 0, 2],
      [0, 0, 0, 3], [0xff, 0xff], [0, 64], [0, 65], [0x7e, 0, 0, 0, 16], [0x7e, 0, 0, 0, 17],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] + ["sample/history", "sample/history/depth", "ring/event", "sample/other"].map(subsection)
    + ["\"size\":", "\"array_len\":4294967296,", "{\"devices\":["].map { Array($0.utf8) }

  private static func subsection(_ name: String) -> [UInt8] {
    [5, UInt8(name.utf8.count)] + Array(name.utf8) + [0, 0, 0, 1]
  }

  static func seeds() throws -> [(name: String, bytes: [UInt8])] {
    var random = SplitMix(state: 4)
    var seeds: [(String, [UInt8])] = []
    for index in 0..<6 {
      let state = index == 0 ? Sample() : Sample(random: &random)
      let now = try Sample.description.encode(state)?.payload ?? []
      let before = try Sample.firstDescription.encode(state)?.payload ?? []
      seeds.append(("sample-\(index).section", now))
      seeds.append(("sample-\(index).first", before))
      let machine = SampleMachine(state, Sample(random: &random), runState: "running")
      let saved = try machine.registry().save()
      seeds.append(("machine-\(index).machine", saved.bytes))
      seeds.append(("machine-\(index).described", described(saved)))
    }
    return seeds
  }

  /// The form of a `described` input.
  private static func described(_ state: DeviceState) -> [UInt8] {
    let size = UInt32(state.bytes.count)
    let prefix = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) }
    return prefix + state.bytes + (state.description ?? [])
  }
}
