// From what a person wants booted to a plan, and from the plan into memory.

import DemoGuest
import GuestMemory

extension BootPlan {
  private static let kernelLimit = 1 << 30
  private static let ramDiskLimit = 2 << 30

  /// Makes the plan for what a person wants booted, reading the files it needs.
  ///
  /// - Throws: ``MachineError`` where a file cannot be read or is not what it should be, or the
  ///   memory has no room.
  init(
    _ source: MachineConfiguration.BootSource, layout: GuestLayout, firmware: FirmwareTables
  ) throws(MachineError) {
    switch source {
    case .nothing:
      self.init(start: .resetVector)
      return
    case .kernel(let path, let initrd, let commandLine):
      let kernel = try BootFile.read(path, limit: Self.kernelLimit)
      var ramDisk: [UInt8]?
      if let initrd { ramDisk = try BootFile.read(initrd, limit: Self.ramDiskLimit) }
      self = try .kernel(
        (path, kernel), initrd: ramDisk, commandLine: commandLine, layout: layout,
        firmware: firmware.address)
    case .flat(let path, let address):
      let bytes = try BootFile.read(path, limit: Self.kernelLimit)
      self = .flat(bytes, at: GuestAddress(address), layout: layout)
    case .demonstration(let workload):
      self = try .kernel(
        ("the demonstration's guest", DemoGuest.image), initrd: nil,
        commandLine: workload.commandLine, layout: layout, firmware: firmware.address)
    }
    pieces.append(Piece("the ACPI tables", at: firmware.address, firmware.bytes))
    try check(against: layout)
  }

  /// Puts everything into the guest's memory; no processor runs.
  ///
  /// - Parameter isReset: whether the memory may hold something already, so that what a kernel
  ///   expects to be zero has to be made so.
  func load(into memory: AddressSpace, isReset: Bool) throws(MachineError) {
    for piece in pieces {
      do throws(GuestMemoryError) {
        // SAFETY: every bit pattern of a byte array is initialised bytes.
        try memory.write(at: piece.address, unsafe piece.bytes.span.bytes)
        if isReset { try Self.clear(behind: piece, in: memory) }
      } catch {
        throw .kernel(
          action: "cannot put \(piece.what) into the guest's memory", reason: "\(error)")
      }
    }
  }

  private static func clear(
    behind piece: Piece, in memory: AddressSpace
  ) throws(GuestMemoryError) {
    let zeroes = [UInt8](repeating: 0, count: 1 << 20)
    var address = piece.address.rawValue + UInt64(piece.bytes.count)
    while address < piece.range.upperBound {
      let count = Int(min(piece.range.upperBound - address, UInt64(zeroes.count)))
      let part = zeroes[..<count]
      try memory.write(at: GuestAddress(address), unsafe part.span.bytes)
      address += UInt64(count)
    }
  }
}

extension MachineConfiguration.Workload {
  /// The workload as the guest is told of it.
  var commandLine: String {
    DemoGuest.commandLine(
      memoryMegabytes: memoryMegabytes, rate: megabytesPerSecond,
      pattern: isRandom ? .random : .sequential, fill: isFilled,
      check: checkedMegabytesPerSecond, reportMilliseconds: reportMilliseconds,
      page: UInt32(GuestLayout.demonstrationPage.rawValue), freePercent: freePercent,
      reuse: reusedMegabytesPerSecond,
      exclusion: UInt32(GuestLayout.exclusionRegisters.rawValue))
  }
}
