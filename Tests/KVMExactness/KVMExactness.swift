// The exactness test as a program, to be run where a KVM is: on a host, or inside a lab's machine.

import DirtyTracking
import ExactnessLab
import Glibc

/// `kvm-exactness [--rounds N] [--ring-entries N] [SOURCE …]`: every source of dirty pages that the
/// host has, with one and two vCPUs, with a still and a changing memory layout.
@main enum KVMExactness {
  static func main() {
    var rounds = 20
    var ringEntryCount = DirtyLogChoice.ringEntryCount
    var kinds: [DirtyLogKind] = []
    var arguments = CommandLine.arguments.dropFirst()
    while let argument = arguments.popFirst() {
      if argument == "--rounds", let value = arguments.popFirst().flatMap(Int.init), value > 1 {
        rounds = value
      } else if argument == "--ring-entries", let value = arguments.popFirst().flatMap(Int.init) {
        ringEntryCount = value
      } else if let kind = DirtyLogKind(rawValue: argument) {
        kinds.append(kind)
      } else {
        print(
          "usage: kvm-exactness [--rounds N] [--ring-entries N] [bitmap|clear|ring|write-protect …]"
        )
        exit(2)
      }
    }
    var hasFault = false
    for kind in kinds.isEmpty ? DirtyLogKind.allCases : kinds {
      for (vcpuCount, changesLayout) in [(1, false), (2, false), (1, true), (2, true)] {
        hasFault = !run(kind, vcpuCount, rounds, changesLayout, ringEntryCount) || hasFault
      }
    }
    if kinds.isEmpty || kinds.contains(.ring) {
      hasFault = !report("ring, filled to the end") { try .runFillingRings() } || hasFault
    }
    exit(hasFault ? 1 : 0)
  }

  /// Runs one source; false where it was not exact.
  private static func run(
    _ kind: DirtyLogKind, _ vcpuCount: Int, _ rounds: Int, _ changesLayout: Bool,
    _ ringEntryCount: Int
  ) -> Bool {
    let name = "\(kind.rawValue), \(vcpuCount) vCPU, \(changesLayout ? "changing" : "still") layout"
    return report(name) {
      try ExactnessResult.run(
        kind, vcpuCount: vcpuCount, rounds: rounds, changesLayout: changesLayout,
        ringEntryCount: ringEntryCount)
    }
  }

  /// Runs something and prints what it came to; false where it was not exact.
  private static func report(_ name: String, _ body: () throws -> ExactnessResult) -> Bool {
    do {
      let result = try body()
      let verdict = result.faults.isEmpty ? "exact" : "NOT EXACT"
      print(
        "\(name): \(verdict), \(result.rounds) rounds, \(result.reported) pages reported, "
          + "\(result.layoutChanges) layout changes, \(result.fullRings) full rings, "
          + "\(result.exitedWrites) writes without memory, "
          + "\(result.interruptedWrites) interrupted writes")
      for fault in result.faults { print("  \(fault)") }
      return result.faults.isEmpty
    } catch let refusal as DirtyLogChoice.Refusal {
      print("\(name): skipped: \(refusal)")
      return true
    } catch {
      print("\(name): \(error)")
      return false
    }
  }
}
