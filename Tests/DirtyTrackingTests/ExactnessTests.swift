// Every source of dirty pages held against a page-by-page comparison, on this host's KVM.

import DirtyTracking
import ExactnessLab
import GuestMemory
import KVM
import Testing

/// What this host has.
enum Host {
  static let kvm = try? KVMSystem()
  static let capabilities = DirtyLogCapabilities(probing: kvm)

  /// The sources that this host's KVM guests can have; the others are skipped by name.
  static func offers(_ kind: DirtyLogKind) -> Bool {
    kvm != nil && (try? DirtyLogChoice(requested: kind, from: capabilities)) != nil
  }
}

@Suite(.enabled(if: Host.kvm != nil, "needs /dev/kvm"), .serialized)
struct ExactnessTests {
  private func check(_ kind: DirtyLogKind) throws {
    for changesLayout in [false, true] {
      let result = try ExactnessResult.run(
        kind, vcpuCount: changesLayout ? 2 : 1, rounds: 6, changesLayout: changesLayout)
      #expect(result.faults.isEmpty, "\(result.faults)")
      #expect(result.rounds == 6 && result.reported > 0)
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `bitmap: exact, while slots are split, merged, added and removed`() throws {
    try check(.bitmap)
  }

  @Test(
    .enabled(if: Host.offers(.clear), "needs KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2"),
    .timeLimit(.minutes(2)))
  func `clear: exact, while slots are split, merged, added and removed`() throws {
    try check(.clear)
  }

  @Test(.enabled(if: Host.offers(.ring), "needs KVM_CAP_DIRTY_LOG_RING"), .timeLimit(.minutes(2)))
  func `ring: exact, while slots are split, merged, added and removed`() throws {
    try check(.ring)
  }

  @Test(
    .enabled(if: Host.offers(.writeProtect), "needs Linux 6.7 and userfaultfd"),
    .timeLimit(.minutes(2)))
  func `write-protect: exact, while slots are split, merged, added and removed`() throws {
    try check(.writeProtect)
    let shared = try ExactnessResult.run(
      .writeProtect, rounds: 4, changesLayout: true, backing: .sharedMemory)
    #expect(shared.faults.isEmpty, "\(shared.faults)")
  }

  @Test(.timeLimit(.minutes(2))) func `a report that is wrong by one page is found`() throws {
    // The code page is written all the time; the last page never.
    let lossy = try ExactnessResult.run(.bitmap, rounds: 3, changesLayout: false) { dirty, block in
      dirty.clear(block.ramRange(offset: 0x10000, byteCount: 4096), for: .migration)
    }
    #expect(lossy.faults.contains { $0.contains("writes lost: [16]") }, "\(lossy.faults)")
    let noisy = try ExactnessResult.run(.bitmap, rounds: 3, changesLayout: false) { dirty, block in
      dirty.setAll(
        block.ramRange(offset: block.byteCount - 4096, byteCount: 4096), for: .migration)
    }
    #expect(noisy.faults.contains { $0.contains("without a write: [4095]") }, "\(noisy.faults)")
  }

  @Test(.enabled(if: Host.offers(.ring), "needs KVM_CAP_DIRTY_LOG_RING"), .timeLimit(.minutes(2)))
  func `a vCPU leaves when its ring is full, and no write is lost`() throws {
    let result = try ExactnessResult.runFillingRings(fullRings: 2)
    #expect(result.faults.isEmpty, "\(result.faults)")
  }
}
