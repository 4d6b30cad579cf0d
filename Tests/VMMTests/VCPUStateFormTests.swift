// VCPUStateFormTests.swift: a processor's state as bytes, without a processor.

import KVM
import Testing
import VMState
import Wire

@testable import VMM

@Suite struct VCPUStateFormTests {
  /// A state with every part that a host may have, or with none.
  private func state(_ isRich: Bool, _ random: inout SystemRandomNumberGenerator) -> VCPUState {
    var state = VCPUState()
    state.general.rax = .random(in: 0...(.max), using: &random)
    state.general.rip = .random(in: 0...(.max), using: &random)
    state.special.gs.base = .random(in: 0...(.max), using: &random)
    state.special.gs.unusable = 1
    state.special.gdt.limit = .random(in: 0...(.max), using: &random)
    state.special.interruptBitmap[3] = .random(in: 0...(.max), using: &random)
    state.cpuid = [CPUIDEntry(function: 0xd, index: 1, flags: 1, eax: 7)]
    state.modelSpecific = (0..<80).map {
      ModelSpecificRegister(index: 0x100 + $0, value: .random(in: 0...(.max), using: &random))
    }
    guard isRich else {
      state.floatingPoint.xmm[200] = 9
      return state
    }
    state.special.flags = 1
    state.special.pageDirectoryPointers[2] = 0x7001
    state.extended = (0..<4096).map { _ in .random(in: 0...(.max), using: &random) }
    state.extendedControl = [ExtendedControlRegister(index: 0, value: 7)]
    state.debug = DebugRegisters()
    state.debug?.dr7 = 0x400
    state.localAPIC = (0..<1024).map { _ in .random(in: 0...(.max), using: &random) }
    state.events = VCPUEvents()
    state.events?.exceptionPayload = 5
    state.runState = .halted
    state.tscKilohertz = 2_400_000
    return state
  }

  @Test(arguments: [true, false])
  func `every part comes back from its bytes`(isRich: Bool) throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<10 {
      let state = state(isRich, &random)
      let saved = try #require(try VCPUState.description.encode(state))
      let again = try VCPUState.description.decode(
        saved.payload[...], version: 1, layout: saved.layout, into: VCPUState())
      #expect(again == state)
      let parts = saved.layout.subsections.map(\.name)
      #expect(isRich ? parts.count == 7 : parts == ["cpu/fpu"])
    }
  }

  @Test func `a count beyond all kernels is refused before anything is made of it`() throws {
    var random = SystemRandomNumberGenerator()
    let state = state(false, &random)
    let saved = try #require(try VCPUState.description.encode(state))
    // The count of CPUID's entries stands behind general and special registers.
    let offset = Int(saved.layout.fields[0].size + saved.layout.fields[1].size)
    var bytes = saved.payload
    bytes.replaceSubrange(offset..<offset + 4, with: [0xff, 0xff, 0xff, 0xff])
    let error = #expect(throws: VMStateError.self) {
      try VCPUState.description.decode(bytes[...], version: 1, into: VCPUState())
    }
    #expect(error?.kind == .limitExceeded)
    #expect(error?.field == "cpuid_count")
    #expect(error?.offset == offset)
  }
}
