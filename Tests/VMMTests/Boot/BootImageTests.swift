// Kernel images as they should be, cut short, and damaged.

import DemoGuest
import Testing

@testable import VMM

struct BootImageTests {
  /// The least that counts as a bzImage: a setup header, a setup part, and a kernel.
  static func bzImage(_ change: (inout LittleEndianBytes) -> Void = { _ in }) -> [UInt8] {
    var image = LittleEndianBytes(zeroes: 1024 + 4096)
    image.put(1 as UInt8, at: 0x1F1)
    image.put(0xAA55 as UInt16, at: 0x1FE)
    image.put(0x66 as UInt8, at: 0x201)
    image.put(0x5372_6448 as UInt32, at: 0x202)
    image.put(0x20F as UInt16, at: 0x206)
    image.put(1 as UInt8, at: 0x211)
    image.put(0x7FFF_FFFF as UInt32, at: 0x22C)
    image.put(1 as UInt8, at: 0x234)
    image.put(3 as UInt16, at: 0x236)
    image.put(2047 as UInt32, at: 0x238)
    image.put(0x100_0000 as UInt64, at: 0x258)
    image.put(0x200_0000 as UInt32, at: 0x260)
    change(&image)
    return image.bytes
  }

  static let layout = GuestLayout(memoryByteCount: 256 << 20)

  private func plan(
    _ bytes: [UInt8], initrd: [UInt8]? = nil, append: String = "console=ttyS0",
    layout: GuestLayout = Self.layout
  ) throws -> BootPlan {
    try BootPlan.kernel(
      ("image", bytes), initrd: initrd, commandLine: append, layout: layout,
      firmware: GuestLayout.firmwareTables)
  }

  @Test func `a bzImage is entered in 64-bit mode behind its first 512 bytes`() throws {
    let plan = try plan(Self.bzImage(), initrd: [1, 2, 3])
    try plan.check(against: Self.layout)
    guard case .long(let entry, let rsi, _, _) = plan.start else {
      Issue.record("entered in \(plan.start)")
      return
    }
    #expect(entry.rawValue == 0x10_0200)
    let parameters = try #require(plan.pieces.first { $0.address == rsi })
    #expect(parameters.bytes.littleEndian(at: 0x228, as: UInt32.self) == 0x6_0000)
    #expect(parameters.bytes.littleEndian(at: 0x21C, as: UInt32.self) == 3)
    #expect(parameters.bytes.littleEndian(at: 0x218, as: UInt32.self) == UInt32((256 << 20) - 4096))
    #expect(parameters.bytes[0x1E8] == UInt8(Self.layout.memoryMap.count))
    let commandLine = try #require(plan.pieces.first { $0.address == GuestLayout.commandLine })
    #expect(Array(commandLine.bytes) == Array("console=ttyS0".utf8) + [0])
  }

  @Test func `an image cut short anywhere is refused or booted, never trapped upon`() {
    let image = Self.bzImage()
    for count in 0..<image.count { _ = try? plan(Array(image[..<count])) }
    let elf = DemoGuest.image
    for count in stride(from: 0, to: elf.count, by: 7) { _ = try? plan(Array(elf[..<count])) }
  }

  @Test func `an image with any byte changed is refused or booted, never trapped upon`() {
    var random = SystemRandomNumberGenerator()
    for image in [Self.bzImage(), DemoGuest.image] {
      for offset in 0..<min(image.count, 700) {
        var damaged = image
        damaged[offset] = .random(in: 0...255, using: &random)
        if let plan = try? plan(damaged) { try? plan.check(against: Self.layout) }
      }
    }
  }

  @Test func `our own guest is entered by its PVH note`() throws {
    let plan = try plan(DemoGuest.image)
    try plan.check(against: Self.layout)
    guard case .protected(let entry, let ebx) = plan.start else {
      Issue.record("entered in \(plan.start)")
      return
    }
    #expect(entry.rawValue == 0x10_0000)
    let info = try #require(plan.pieces.first { $0.address == ebx })
    #expect(info.bytes.littleEndian(at: 0, as: UInt32.self) == 0x336E_C578)
  }

  @Test(arguments: [
    ([UInt8](repeating: 7, count: 4096), "neither a Linux bzImage nor an ELF file"),
    (BootImageTests.bzImage { $0.put(0x20B as UInt16, at: 0x206) }, "older than 2.12"),
    (BootImageTests.bzImage { $0.put(0 as UInt16, at: 0x236) }, "no 64-bit entry"),
    (BootImageTests.bzImage { $0.put(0 as UInt8, at: 0x211) }, "zImage"),
  ])
  func `what cannot be booted is refused by a sentence`(image: [UInt8], words: String) {
    let error = #expect(throws: MachineError.self) { try plan(image) }
    #expect("\(error!)".contains(words), "\(error!)")
    #expect("\(error!)".hasPrefix("cannot boot 'image': "), "\(error!)")
  }

  @Test func `a kernel that needs more memory than there is is refused`() throws {
    let layout = GuestLayout(memoryByteCount: 32 << 20)
    let plan = try plan(Self.bzImage(), layout: layout)
    let error = #expect(throws: MachineError.self) { try plan.check(against: layout) }
    #expect("\(error!)".contains("give the machine more memory"), "\(error!)")
  }

  @Test func `a command line that is too long is refused`() {
    let error = #expect(throws: MachineError.self) {
      try plan(Self.bzImage(), append: String(repeating: "x", count: 2048))
    }
    #expect("\(error!)".contains("2048 bytes, and it takes 2047"), "\(error!)")
  }
}
