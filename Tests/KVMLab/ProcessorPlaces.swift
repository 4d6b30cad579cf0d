// Where a guest's processors are, for the message of a check that waited for it in vain: one that
// spins with interrupts off tells another story than one that sleeps.

import Foundation
import QEMULab

/// Looks where processors are, a few times in turn.
struct ProcessorPlaces {
  let qmp: LabQMP

  private static let looks = 3

  /// A clause for each processor; empty where the machine does not say.
  func description() -> String {
    var seen: [[String]] = []
    for look in 0..<Self.looks {
      if look > 0 { usleep(200_000) }
      for (index, place) in places().enumerated() {
        if index == seen.count { seen.append([]) }
        if seen[index].last != place { seen[index].append(place) }
      }
    }
    return seen.enumerated().map { index, places in
      "processor \(index) at " + places.joined(separator: ", then ")
    }.joined(separator: "; ")
  }

  /// Each processor's instruction, and whether interrupts reach it.
  private func places() -> [String] {
    guard let text = try? qmp.monitor("info registers -a") else { return [] }
    func values(_ pattern: String) -> [String] {
      let regex = try? Regex("\(pattern)= *([0-9a-f]+)", as: (Substring, Substring).self)
      return regex.map { text.matches(of: $0).map { String($0.output.1) } } ?? []
    }
    let flags = values("RFL"), halts = values("HLT")
    return values("RIP").enumerated().map { index, instruction in
      var words = "0x\(instruction)"
      if index < halts.count, halts[index] == "1" { return words + " (halted)" }
      if index < flags.count, let bits = UInt64(flags[index], radix: 16), bits & 0x200 == 0 {
        words += " (interrupts off)"
      }
      return words
    }
  }
}
