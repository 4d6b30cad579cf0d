// Guests with devices and with more than one piece of memory.

import DemoGuest
import Foundation
import QEMULab
import Testing

/// Something that a machine has beyond its bare self.
struct Equipment: CustomStringConvertible {
  var description: String
  /// Properties behind the machine type.
  var machineProperties = ""
  /// Arguments; `FOLDER` stands for a folder of the guest's own, `MEMORY` for its size.
  var arguments: [String]

  static let all = [
    Equipment(
      description: "virtio-blk and virtio-net",
      arguments: [
        "-blockdev", "driver=null-co,node-name=disk,size=16777216,read-zeroes=on",
        "-device", "virtio-blk-pci,drive=disk,id=vda",
        "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net",
        "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci",
      ]),
    Equipment(
      description: "several RAM blocks",
      arguments: [
        "-object", "memory-backend-ram,id=more,size=32M",
        "-device", "pc-dimm,memdev=more,id=dimm",
        "-device", "VGA,vgamem_mb=8", "-device", "virtio-net-pci,netdev=net",
        "-netdev", "user,id=net,restrict=on",
      ]),
    Equipment(
      description: "memory in a memfd", machineProperties: ",memory-backend=ram",
      arguments: ["-object", "memory-backend-memfd,id=ram,size=MEMORY,share=on"]),
    Equipment(
      description: "memory in a file", machineProperties: ",memory-backend=ram",
      arguments: [
        "-object", "memory-backend-file,id=ram,size=MEMORY,mem-path=FOLDER/ram,share=on",
      ]),
    Equipment(
      description: "two processors and an ISA sound card",
      arguments: ["-smp", "2", "-device", "sb16,audiodev=snd", "-audiodev", "none,id=snd"]),
  ]

  /// A configuration with this equipment, its files in `folder`.
  func configuration(_ direction: Direction, machine: String, folder: String) -> LabConfiguration {
    var configuration = LabConfiguration(
      direction.source, machine: direction.machine(machine) + machineProperties)
    configuration.arguments = arguments.map {
      $0.replacingOccurrences(of: "FOLDER", with: folder)
        .replacingOccurrences(of: "MEMORY", with: "\(configuration.memoryMegabytes)M")
    }
    // A slot to plug the DIMM into must be asked for on the same option as the size.
    if arguments.contains(where: { $0.hasPrefix("pc-dimm") }) {
      configuration.memoryOptions = ",slots=2,maxmem=1G"
    }
    return configuration
  }
}

extension Interop {
  @Suite(.enabled(if: QEMU.newest() != nil, "no qemu-system-x86_64: nothing to move"))
  struct DeviceTests {
    /// A file that is one guest's memory cannot be another's at the same time.
    private func withFolders<Result>(
      _ count: Int, in parent: String = "/dev/shm/", _ body: ([String]) throws -> Result
    ) throws -> Result {
      let folders = (0..<count).map { _ in parent + "gwmem-\(UUID().uuidString)" }
      for folder in folders {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
      defer { for folder in folders { try? FileManager.default.removeItem(atPath: folder) } }
      return try body(folders)
    }

    @Test(
      .timeLimit(.minutes(2)), arguments: Equipment.all, Lab.isLong ? ["pc", "q35"] : ["pc"])
    func `a guest comes back with all its equipment`(equipment: Equipment, machine: String) throws {
      let directions = Direction.all()
      // Each piece of equipment takes another way.
      let number = Equipment.all.firstIndex { $0.description == equipment.description } ?? 0
      let ways =
        Lab.isLong
        ? directions : [directions[(number + 1) % directions.count]]
      for direction in ways {
        try withFolders(3) { folders in
          func equipped(_ folder: String) -> LabConfiguration {
            equipment.configuration(direction, machine: machine, folder: folder)
          }
          let journey = try Journey(equipped(folders[0]))
          try journey.save(.paused)
          let destinations = folders.dropFirst().map { folder in
            equipped(folder).inside(direction.destination)
          }
          let still = try LabGuest(destinations[0], isIncoming: true)
          try journey.godwit.run(["restore", "one", "--qmp", still.qmpPath, "--paused"])
          try journey.requireEqual(still)
          still.kill()
          let alive = try LabGuest(destinations[1], isIncoming: true)
          try journey.godwit.run(["restore", "one", "--qmp", alive.qmpPath])
          if try alive.status == "paused" { try alive.resume() }
          try journey.requireCarryingOn(alive)
        }
      }
    }

    /// QEMU takes page faults of files in memory (tmpfs, hugetlbfs) only, so a guest whose RAM is a
    /// file on a disk cannot run before its memory is there; it can be loaded.
    @Test(.timeLimit(.minutes(1)))
    func `a guest whose memory is a file on a disk is refused instantly and loaded eagerly`() throws
    {
      let qemu = try #require(QEMU.newest())
      let file = try #require(Equipment.all.first { $0.description == "memory in a file" })
      try withFolders(2, in: NSTemporaryDirectory()) { folders in
        let journey = try Journey(
          file.configuration(Direction(from: qemu, to: qemu), machine: "pc", folder: folders[0]))
        try journey.save(.paused)
        let other = file.configuration(
          Direction(from: qemu, to: qemu), machine: "pc", folder: folders[1])
        let copy = try LabGuest(other, isIncoming: true)
        let words = ["restore", "one", "--qmp", copy.qmpPath]
        #expect(try journey.godwit.refuse(words).contains("tmpfs"))
        #expect(try copy.status == "inmigrate")
        try journey.godwit.run(words + ["--eager"])
        try journey.requireCarryingOn(copy)
      }
    }

    @Test(.timeLimit(.minutes(1)))
    func `memory and disk are not let part ways unnoticed`() throws {
      let qemu = try #require(QEMU.newest())
      try withFolders(1) { folders in
        let disk = folders[0] + "/disk"
        #expect(FileManager.default.createFile(atPath: disk, contents: Data(count: 1 << 20)))
        var configuration = LabConfiguration(qemu, machine: "pc")
        configuration.arguments = [
          "-drive", "file=\(disk),format=raw,if=none,id=disk",
          "-device", "virtio-blk-pci,drive=disk",
        ]
        let journey = try Journey(configuration)
        let words = ["save", "--qmp", journey.source.qmpPath, "--name"]
        let said = try journey.godwit.refuse(words + ["refused"])
        #expect(said.contains("--then pause") && said.contains("--disks ignore"))
        try journey.source.requireHealth()
        try journey.godwit.run(words + ["stopped", "--then", "pause"])
        #expect(try journey.source.status != "running")
        #expect(try journey.godwit.names() == ["stopped"])
      }
    }
  }
}
