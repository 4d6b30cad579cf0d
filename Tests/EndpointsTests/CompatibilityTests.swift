// Whether a checkpoint fits a QEMU, and the sentence for each way in which it does not.

import Testing

@testable import Endpoints

@Suite struct CompatibilityTests {
  static let blocks = [
    RAMBlockFact(name: "pc.ram", usedLength: 64 << 20, maxLength: 64 << 20),
    RAMBlockFact(name: "/rom@etc/acpi/tables", usedLength: 0x20000, maxLength: 0x200000),
  ]
  static let checkpoint = CheckpointFacts(
    name: "web", qemuVersion: "10.0.2", architecture: "x86_64", machine: "pc-i440fx-7.2",
    blocks: blocks, sections: ["timer", "0000:00:02.0/vga", "0000:00:02.0/vga", "globalstate"])
  static let qemu = DestinationFacts(
    version: "7.2.22", architecture: "x86_64", machine: "pc-i440fx-7.2",
    knownMachines: ["pc-i440fx-7.2", "pc-q35-7.2"], blocks: blocks,
    pciAddresses: ["0000:00:00.0", "0000:00:02.0"])

  @Test func `the same machine fits`() {
    #expect(Compatibility.mismatches(of: Self.checkpoint, in: Self.qemu).isEmpty)
  }

  @Test func `another architecture is named`() {
    var qemu = Self.qemu
    qemu.architecture = "aarch64"
    #expect(
      Compatibility.mismatches(of: Self.checkpoint, in: qemu).first?
        .contains("qemu-system-x86_64") == true)
  }

  @Test func `another machine type says which to start`() {
    var qemu = Self.qemu
    qemu.machine = "pc-q35-7.2"
    #expect(
      Compatibility.mismatches(of: Self.checkpoint, in: qemu).first?
        .contains("-machine pc-i440fx-7.2") == true)
  }

  @Test func `a machine type that the QEMU is too old for names the version it needs`() {
    var checkpoint = Self.checkpoint
    checkpoint.machine = "pc-i440fx-10.0"
    let sentence = Compatibility.mismatches(of: checkpoint, in: Self.qemu).first
    #expect(sentence?.contains("10.0.2") == true)
    #expect(sentence?.contains("does not know") == true)
  }

  @Test func `memory of another size names the size to start with`() {
    var qemu = Self.qemu
    qemu.blocks[0].usedLength = 128 << 20
    qemu.blocks[0].maxLength = 128 << 20
    let sentences = Compatibility.mismatches(of: Self.checkpoint, in: qemu)
    #expect(sentences.count == 1)
    #expect(sentences.first?.contains("-m 64M") == true)
  }

  @Test func `a machine of Godwit's own is advised in its own words`() {
    var (checkpoint, machine) = (Self.checkpoint, Self.qemu)
    checkpoint.machine = "godwit-pc-1"
    machine.machine = "godwit-pc-1"
    machine.knownMachines = ["godwit-pc-1"]
    machine.blocks[0].usedLength = 128 << 20
    let size = Compatibility.mismatches(of: checkpoint, in: machine)
    #expect(size.count == 1 && size.first?.contains("start it with --memory 64M") == true)
    machine.machine = "godwit-pc-2"
    let type = Compatibility.mismatches(of: checkpoint, in: machine)
    #expect(type.count == 1 && type.first?.contains("godwit-pc-2") == true)
    for sentence in size + type {
      #expect(!sentence.contains("QEMU") && !sentence.contains("10.0"), "\(sentence)")
    }
  }

  @Test func `the two kinds of machine do not mix, and no version would help`() {
    var (checkpoint, machine) = (Self.checkpoint, Self.qemu)
    checkpoint.machine = "godwit-pc-1"
    let away = Compatibility.mismatches(of: checkpoint, in: Self.qemu)
    machine.machine = "godwit-pc-1"
    let back = Compatibility.mismatches(of: Self.checkpoint, in: machine)
    for sentences in [away, back] {
      #expect(sentences.count == 1)
      #expect(sentences.first?.contains("do not mix") == true)
      #expect(sentences.first?.contains("10.0") == false)
    }
  }

  @Test func `a block that may be resized fits another length`() {
    var qemu = Self.qemu
    qemu.blocks[1].usedLength = 0x1000
    #expect(Compatibility.mismatches(of: Self.checkpoint, in: qemu).isEmpty)
  }

  @Test func `missing and surplus blocks are both named`() {
    var qemu = Self.qemu
    qemu.blocks[0].name = "other.ram"
    let sentences = Compatibility.mismatches(of: Self.checkpoint, in: qemu)
    #expect(sentences.count == 2)
    #expect(sentences.contains { $0.contains("pc.ram") })
    #expect(sentences.contains { $0.contains("other.ram") })
  }

  @Test func `a device in a slot that is empty is named once`() {
    var qemu = Self.qemu
    qemu.pciAddresses = ["0000:00:00.0"]
    let sentences = Compatibility.mismatches(of: Self.checkpoint, in: qemu)
    #expect(sentences.count == 1)
    #expect(sentences.first?.contains("0000:00:02.0") == true)
  }
}
