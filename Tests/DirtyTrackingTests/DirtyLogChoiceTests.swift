// Which source is chosen, and what is said about it.

import DirtyTracking
import Testing

@Suite struct DirtyLogChoiceTests {
  private let everything = DirtyLogCapabilities(
    kvm: .init(hasManualProtect: true, hasInitiallySet: true, ringByteLimit: 1 << 20))
  private let old = DirtyLogCapabilities(
    kvm: .init(), writeProtectObstacle: "This host's kernel does not offer PAGEMAP_SCAN.")
  private let noKVM = DirtyLogCapabilities(kvm: nil)

  @Test func `left to itself it prefers the log that is cleared by request`() throws {
    let choice = try DirtyLogChoice(requested: nil, from: everything)
    #expect(choice.kind == .clear && choice.isInitiallySet && choice.ringByteCount == 0)
    #expect(choice.reason.hasSuffix("."))
  }

  @Test func `an old KVM has its bitmap, and a machine without KVM its page tables`() throws {
    #expect(try DirtyLogChoice(requested: nil, from: old).kind == .bitmap)
    #expect(try DirtyLogChoice(requested: nil, from: noKVM).kind == .writeProtect)
    let half = DirtyLogCapabilities(kvm: .init(hasManualProtect: true))
    let choice = try DirtyLogChoice(requested: nil, from: half)
    #expect(choice.kind == .clear && !choice.isInitiallySet)
  }

  @Test(arguments: DirtyLogKind.allCases)
  func `what is asked for by name is taken, and said to be`(kind: DirtyLogKind) throws {
    let choice = try DirtyLogChoice(requested: kind, from: everything)
    #expect(choice.kind == kind)
    #expect(choice.reason == "The dirty log '\(kind.rawValue)' was asked for.")
    #expect(choice.ringByteCount == (kind == .ring ? 1 << 20 : 0))
  }

  @Test func `a ring is no larger than the kernel allows`() throws {
    let small = DirtyLogCapabilities(kvm: .init(ringByteLimit: 1 << 15))
    #expect(try DirtyLogChoice(requested: .ring, from: small).ringByteCount == 1 << 15)
    let chosen = try DirtyLogChoice(requested: .ring, from: everything, ringEntryCount: 2048)
    #expect(chosen.ringByteCount == 2048 * 16)
  }

  @Test func `what is missing is named with what is there instead`() {
    #expect {
      try DirtyLogChoice(requested: .ring, from: old)
    } throws: { error in
      "\(error)"
        == "The dirty log 'ring' cannot be used: this host's KVM does not offer "
        + "KVM_CAP_DIRTY_LOG_RING. Possible here: bitmap."
    }
    #expect {
      try DirtyLogChoice(requested: .clear, from: noKVM)
    } throws: { error in
      "\(error)".contains("no KVM owns the guest's memory. Possible here: write-protect.")
    }
    let nothing = DirtyLogCapabilities(kvm: nil, writeProtectObstacle: "There is no userfaultfd.")
    #expect {
      try DirtyLogChoice(requested: nil, from: nothing)
    } throws: { error in
      "\(error)".contains("There is no userfaultfd. Nothing else is possible here either.")
    }
  }
}
