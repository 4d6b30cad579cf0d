// Machines that are larger than their host.

import Testing

@testable import VMM

@Suite struct `A machine's memory and its host's` {
  private func refusal(_ memory: UInt64, host: UInt64) -> String? {
    do throws(MachineError) {
      try MachineConfiguration(memoryByteCount: memory).checkMemory(ofHost: host)
      return nil
    } catch {
      return error.description
    }
  }

  @Test func `a machine that the host cannot hold is refused by a sentence`() {
    #expect(refusal(4 << 30, host: 4 << 30) == nil)
    let sentence = refusal(8 << 30, host: 4 << 30)
    #expect(sentence?.contains("cannot give the machine 8192 MiB") == true)
    #expect(sentence?.contains("this host has 4096 MiB in all; ask for less") == true)
  }

  @Test func `this host has memory`() {
    #expect(MachineConfiguration.hostMemory > 256 << 20)
  }
}
