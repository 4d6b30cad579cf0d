// Opening KVM, and saying clearly why it cannot be opened.

import Glibc
import Testing

@testable import KVM

@Suite struct KVMSystemTests {
  @Test func `a missing device is told from a forbidden and a foreign one`() throws {
    #expect(throws: KVMError.missing(path: "/dev/no-kvm")) {
      _ = try KVMSystem(path: "/dev/no-kvm")
    }
    // /dev/null opens and knows none of KVM's requests.
    #expect(throws: KVMError.wrongVersion(path: "/dev/null", expected: 12, found: -1)) {
      _ = try KVMSystem(path: "/dev/null")
    }
    // A directory does not open for writing: neither missing nor forbidden.
    #expect(throws: KVMError.notWorking(path: "/tmp", code: EISDIR)) {
      _ = try KVMSystem(path: "/tmp")
    }
  }

  @Test func `every error is a sentence that says what to do`() {
    let errors: [KVMError] = [
      .missing(path: "/dev/kvm"), .noRights(path: "/dev/kvm", code: EACCES),
      .notWorking(path: "/dev/kvm", code: ENODEV),
      .wrongVersion(path: "/dev/kvm", expected: 12, found: -1),
      .unsupported("Using the dirty ring", capability: "KVM_CAP_DIRTY_LOG_RING"),
      .failed(action: "Creating a virtual machine", code: ENOMEM),
      .wrongSize(of: "the local APIC", expected: 1024, found: 3),
      .refusedRegister(index: 0x1d9, value: 1),
    ]
    for error in errors {
      #expect(error.description.hasSuffix("."))
      #expect(error.description.first?.isUppercase == true || error.description.hasPrefix("/dev"))
    }
    #expect(errors[1].description.contains("Permission denied"))
    #expect(errors[1].description.contains("usermod"))
    #expect(errors[7].description.contains("0x1d9"))
  }

  @Test(.enabled(if: TinyGuest.isPossible, "needs /dev/kvm"))
  func `the host's KVM tells what it has`() throws {
    let system = try KVMSystem()
    #expect(system.check(.userMemory) == 1)
    #expect(system.check(KVMCapability(rawValue: 9_999)) == 0)
    #expect(system.runMappingByteCount >= 4096)
    #expect(try !system.supportedCPUID().isEmpty)
    let indices = try system.modelSpecificRegisterIndices()
    #expect(indices.contains(0x10), "the time stamp counter is always there")
    #expect(Set(indices).count == indices.count)
  }

  @Test func `words and bytes are each other's inverse`() {
    let some: [UInt8] = (0..<24).map { UInt8($0 * 7 % 256) }
    #expect(bytes(of: words(of: some)) == some)
    #expect(words(of: [1, 2]) == [0x0201])
    #expect(bytes(of: [0x0807_0605_0403_0201]) == [1, 2, 3, 4, 5, 6, 7, 8])
  }
}
