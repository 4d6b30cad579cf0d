// Slots as calculated from ranges, and as KVM has them after changes of the layout.

import GuestMemory
import KVM
import Testing

@testable import DirtyTracking

@Suite struct SlotTests {
  private final class NoRegisters: MMIOHandler {
    func read(offset: UInt64, byteCount: Int) -> UInt64 { 0 }
    func write(offset: UInt64, byteCount: Int, value: UInt64) {}
  }

  private final class NoVCPUs: VCPUPausing {
    func withVCPUsPaused(_ body: () -> Void) { body() }
  }

  /// The ranges of RAM that a region shows at an address.
  private func ranges(_ region: MemoryRegion, at address: UInt64) -> [FlatRange] {
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 40)
    root.addSubregion(region, at: address)
    return AddressSpace(name: "memory", root: root, ram: RAMList()).view.ranges
  }

  @Test func `a slot is whole pages of the host`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "block", byteCount: 1 << 20)
    // Guest 0x10800, block 0x800: the first half page is left out, and the last.
    let odd = MemoryRegion.ram(name: "odd", block: block, offset: 0x800, byteCount: 0x5000)
    let range = try #require(ranges(odd, at: 0x1_0800).first)
    let plans = SlotPlan.slots(for: range, pageSize: 4096)
    #expect(plans.count == 1)
    #expect(plans[0].guest == GuestRange(start: 0x1_1000, byteCount: 0x4000))
    #expect(plans[0].blockOffset == 0x1000)
    #expect(plans[0].hostAddress == block.hostAddress + 0x1000)
  }

  @Test func `memory across the host's pages has no slot, nor has less than a page`() throws {
    let block = try RAMList().add(name: "block", byteCount: 1 << 20)
    let across = MemoryRegion.ram(name: "across", block: block, offset: 0x800, byteCount: 0x5000)
    let range = try #require(ranges(across, at: 0x1_0000).first)
    #expect(SlotPlan.slots(for: range, pageSize: 4096).isEmpty)
    let tiny = MemoryRegion.ram(name: "tiny", block: block, offset: 0x100, byteCount: 0x200)
    let small = try #require(ranges(tiny, at: 0x100).first)
    #expect(SlotPlan.slots(for: small, pageSize: 4096).isEmpty)
  }

  @Test func `a range beyond the largest slot takes several`() throws {
    let block = try RAMList().add(name: "block", byteCount: 1 << 20)
    let range = try #require(ranges(MemoryRegion.ram(block), at: 0x4000).first)
    let plans = SlotPlan.slots(for: range, pageSize: 4096, byteLimit: 0x6_0000)
    #expect(plans.map(\.guest.byteCount) == [0x6_0000, 0x6_0000, 0x4_0000])
    #expect(plans.map(\.guest.start.rawValue) == [0x4000, 0x6_4000, 0xc_4000])
    #expect(plans.map(\.blockOffset) == [0, 0x6_0000, 0xc_0000])
  }

  @Test(.enabled(if: Host.kvm != nil, "needs /dev/kvm"))
  func `KVM's slots follow every change of the layout`() throws {
    let machine = try #require(Host.kvm).makeVirtualMachine()
    let choice = try DirtyLogChoice(requested: .bitmap, from: Host.capabilities)
    let slots = try KVMMemorySlots(
      machine: machine, choice: choice, pausing: NoVCPUs(), slotByteLimit: 8 << 20)
    let ram = RAMList()
    let root = MemoryRegion.container(name: "system", byteCount: 1 << 40)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    try space.addListener(slots)
    #expect(slots.slots.isEmpty)
    func layout() -> [String] {
      slots.slots.map { "\($0.guest) \($0.block.name)+\($0.blockOffset) \($0.isReadOnly)" }
    }

    let main = try ram.add(name: "main", byteCount: 16 << 20)
    try space.transaction { () throws(GuestMemoryError) in
      root.addSubregion(.ram(main), at: 0)
    }
    let whole = ["0x0-0x7fffff main+0 false", "0x800000-0xffffff main+8388608 false"]
    #expect(layout() == whole)

    let hole = MemoryRegion.mmio(name: "hole", byteCount: 0x2000, handler: NoRegisters())
    try space.transaction { () throws(GuestMemoryError) in
      root.addSubregion(hole, at: 0x3000, priority: 1)
    }
    #expect(
      layout() == [
        "0x0-0x2fff main+0 false", "0x5000-0x804fff main+20480 false",
        "0x805000-0xffffff main+8409088 false",
      ])
    try space.startLogging(.migration)
    try space.transaction { () throws(GuestMemoryError) in hole.isEnabled = false }
    #expect(layout() == whole, "merged again, the log on")
    try space.stopLogging(.migration)

    let firmware = try ram.add(name: "firmware", byteCount: 1 << 16)
    try space.transaction { () throws(GuestMemoryError) in
      root.addSubregion(.rom(firmware), at: 0x1000_0000)
    }
    #expect(layout().last == "0x10000000-0x1000ffff firmware+0 true")
    try space.removeListener(slots)
    #expect(slots.slots.isEmpty)
  }

  @Test(.enabled(if: Host.kvm != nil, "needs /dev/kvm"))
  func `what KVM refuses ends the transaction with a sentence`() throws {
    let machine = try #require(Host.kvm).makeVirtualMachine()
    let choice = try DirtyLogChoice(requested: .bitmap, from: Host.capabilities)
    let slots = try KVMMemorySlots(machine: machine, choice: choice, pausing: NoVCPUs())
    let ram = RAMList()
    let root = MemoryRegion.container(name: "system", byteCount: 1 << 62)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    try space.addListener(slots)
    let block = try ram.add(name: "far", byteCount: 4096)
    #expect {
      // No processor has so many physical address bits.
      try space.transaction { () throws(GuestMemoryError) in
        root.addSubregion(.ram(block), at: 1 << 61)
      }
    } throws: { error in
      "\(error)".hasPrefix(
        "KVM's memory slots could not follow a change of the memory layout: Setting the memory "
          + "slot 0 (4096 bytes at guest address 0x2000000000000000) failed")
    }
  }

  @Test func `bits of a run are found in whole and partial words`() throws {
    let block = try RAMList().add(name: "block", byteCount: 200 * 4096)
    let range = try #require(ranges(MemoryRegion.ram(block), at: 0).first)
    let plan = SlotPlan.slots(for: range, pageSize: 4096)[0]
    var slot = Slot(number: 0, plan: plan, logClients: [])
    #expect(slot.wordCount == 4 && slot.allPages.last == 0xff)
    for page in [0, 1, 63, 64, 127, 128, 199] {
      slot.bits = [0, 0, 0, 0]
      slot.bits[page / 64] = 1 << UInt64(page % 64)
      for lower in stride(from: 0, to: 200, by: 7) {
        for upper in [lower, lower + 1, lower + 64, 200] where upper <= 200 && upper >= lower {
          #expect(slot.hasBits(in: lower..<upper) == (lower..<upper).contains(page))
        }
      }
    }
  }
}
