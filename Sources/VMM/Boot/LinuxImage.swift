// A Linux kernel as a bzImage, by the kernel's documented boot protocol for x86.

/// The parts of a bzImage that a loader needs.
///
/// Offsets are those of the documented setup header; all numbers are little-endian.
struct LinuxImage: Sendable {
  /// The whole file.
  let bytes: [UInt8]
  /// The setup header, from offset 0x1F1 of the file.
  let header: Range<Int>
  /// Where the kernel proper begins in the file; it reaches to the file's end.
  let kernelOffset: Int
  /// The highest address that a byte of the initial RAM disk may have.
  let ramDiskLimit: UInt64
  /// How many bytes the command line may have, without its terminating zero.
  let commandLineLimit: Int
  /// How much memory the kernel needs from where it runs, until it knows of its memory.
  let initialByteCount: UInt64
  /// Where it likes to run.
  let preferredAddress: UInt64
  /// Whether it runs elsewhere too.
  let isRelocatable: Bool

  static let headerOffset = 0x1F1

  /// Whether bytes look like a bzImage.
  static func isOne(_ bytes: [UInt8]) -> Bool {
    bytes.littleEndian(at: 0x202, as: UInt32.self) == 0x5372_6448  // "HdrS"
      && bytes.littleEndian(at: 0x1FE, as: UInt16.self) == 0xAA55
  }

  /// Reads the header.
  ///
  /// - Throws: a sentence about what the file lacks.
  init(_ bytes: [UInt8]) throws(BootImageError) {
    guard Self.isOne(bytes) else { throw BootImageError("it is no Linux kernel image (bzImage)") }
    guard let version: UInt16 = bytes.littleEndian(at: 0x206), version >= 0x20C else {
      throw BootImageError(
        "its boot protocol is older than 2.12: Linux 3.8 or later is needed")
    }
    guard let loadFlags: UInt8 = bytes.littleEndian(at: 0x211), loadFlags & 1 != 0 else {
      throw BootImageError("it is a zImage, which loads below 1 MiB: a bzImage is needed")
    }
    guard let extraFlags: UInt16 = bytes.littleEndian(at: 0x236), extraFlags & 1 != 0 else {
      throw BootImageError("it has no 64-bit entry: a kernel for x86-64 is needed")
    }
    guard let jumpLength: UInt8 = bytes.littleEndian(at: 0x201),
      let setupSectors: UInt8 = bytes.littleEndian(at: 0x1F1),
      let ramDiskLimit: UInt32 = bytes.littleEndian(at: 0x22C),
      let commandLineLimit: UInt32 = bytes.littleEndian(at: 0x238),
      let preferredAddress: UInt64 = bytes.littleEndian(at: 0x258),
      let initialByteCount: UInt32 = bytes.littleEndian(at: 0x260),
      let isRelocatable: UInt8 = bytes.littleEndian(at: 0x234)
    else { throw BootImageError("its setup header is cut short") }
    let headerEnd = 0x202 + Int(jumpLength)
    let kernelOffset = (Int(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
    guard headerEnd <= bytes.count, headerEnd <= 0x290, kernelOffset + 0x200 < bytes.count else {
      throw BootImageError(
        "it has \(bytes.count) bytes, and its kernel should begin at \(kernelOffset)")
    }
    self.bytes = bytes
    header = Self.headerOffset..<headerEnd
    self.kernelOffset = kernelOffset
    self.ramDiskLimit = UInt64(ramDiskLimit)
    self.commandLineLimit = Int(commandLineLimit)
    self.initialByteCount = UInt64(initialByteCount)
    self.preferredAddress = preferredAddress
    self.isRelocatable = isRelocatable != 0
  }
}

/// What is wrong with an image, as the second half of a sentence.
struct BootImageError: Error, Equatable, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
