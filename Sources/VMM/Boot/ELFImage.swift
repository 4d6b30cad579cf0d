// An ELF kernel: what is to be loaded where, and where it is entered.

/// The parts of a 64-bit x86 ELF file that a loader needs.
struct ELFImage: Sendable {
  /// A stretch of the file that is loaded.
  struct Segment: Sendable, Equatable {
    /// Where it goes, guest-physical.
    let address: UInt64
    /// What is put there.
    let bytes: Range<Int>
    /// How much memory it takes; what lies behind its bytes is zero.
    let memoryByteCount: UInt64
  }

  /// The whole file.
  let bytes: [UInt8]
  let segments: [Segment]
  /// The entry of the header: for Linux the 64-bit one.
  let entry: UInt64
  /// The entry of the PVH boot protocol, where a note names one.
  let pvhEntry: UInt64?

  private static let mostSegments = 64

  /// Whether bytes look like an ELF file.
  static func isOne(_ bytes: [UInt8]) -> Bool {
    bytes.littleEndian(at: 0, as: UInt32.self) == 0x464C_457F
  }

  /// Reads the headers.
  ///
  /// - Throws: a sentence about what is wrong with the file.
  init(_ bytes: [UInt8]) throws(BootImageError) {
    guard Self.isOne(bytes) else { throw BootImageError("it is no ELF file") }
    guard bytes.count >= 64, bytes[4] == 2, bytes[5] == 1,
      let machine: UInt16 = bytes.littleEndian(at: 18), machine == 62
    else { throw BootImageError("it is an ELF file, but not for x86-64") }
    guard let entry: UInt64 = bytes.littleEndian(at: 24),
      let tableOffset: UInt64 = bytes.littleEndian(at: 32),
      let entrySize: UInt16 = bytes.littleEndian(at: 54), entrySize >= 56,
      let entryCount: UInt16 = bytes.littleEndian(at: 56), entryCount <= Self.mostSegments,
      tableOffset <= UInt64(bytes.count)
    else { throw BootImageError("its ELF header makes no sense") }
    var segments: [Segment] = []
    var pvhEntry: UInt64?
    for index in 0..<Int(entryCount) {
      let offset = Int(tableOffset) + index * Int(entrySize)
      guard let header = ProgramHeader(in: bytes, at: offset) else {
        throw BootImageError("its program header \(index) lies outside the file")
      }
      switch header.kind {
      case 1:
        segments.append(
          Segment(
            address: header.address, bytes: header.bytes, memoryByteCount: header.memoryByteCount))
      case 4: pvhEntry = pvhEntry ?? Self.pvhEntry(in: bytes[header.bytes])
      default: break
      }
    }
    guard !segments.isEmpty else { throw BootImageError("it has nothing to load") }
    self.bytes = bytes
    self.segments = segments
    self.entry = entry
    self.pvhEntry = pvhEntry
  }

  /// One entry of the program header table.
  private struct ProgramHeader {
    let kind: UInt32
    let address: UInt64
    let bytes: Range<Int>
    let memoryByteCount: UInt64

    init?(in file: [UInt8], at offset: Int) {
      guard let kind: UInt32 = file.littleEndian(at: offset),
        let start: UInt64 = file.littleEndian(at: offset + 8),
        let address: UInt64 = file.littleEndian(at: offset + 24),
        let fileSize: UInt64 = file.littleEndian(at: offset + 32),
        let memorySize: UInt64 = file.littleEndian(at: offset + 40),
        start <= UInt64(file.count), fileSize <= UInt64(file.count) - start,
        fileSize <= memorySize || kind != 1, address <= UInt64.max - memorySize
      else { return nil }
      self.kind = kind
      self.address = address
      bytes = Int(start)..<Int(start + fileSize)
      memoryByteCount = memorySize
    }
  }

  /// The 32-bit entry that a note of the name "Xen" and the type 18 holds.
  private static func pvhEntry(in notes: ArraySlice<UInt8>) -> UInt64? {
    var offset = 0
    while let nameSize: UInt32 = notes.littleEndian(at: offset),
      let valueSize: UInt32 = notes.littleEndian(at: offset + 4),
      let kind: UInt32 = notes.littleEndian(at: offset + 8)
    {
      let name = offset + 12
      let value = name + (Int(nameSize) + 3) & ~3
      guard value + Int(valueSize) <= notes.count else { return nil }
      let isXen = notes.dropFirst(name).prefix(4).elementsEqual([0x58, 0x65, 0x6E, 0])
      if kind == 18, nameSize == 4, isXen {
        if valueSize >= 8 { return notes.littleEndian(at: value) }
        return notes.littleEndian(at: value, as: UInt32.self).map(UInt64.init)
      }
      offset = value + (Int(valueSize) + 3) & ~3
    }
    return nil
  }
}
