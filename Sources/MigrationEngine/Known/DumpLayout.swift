// Where the memory lies in an ELF core file: of either word size and byte order, with any number
// of segments (System V ABI, "Object Files" and "Program Loading").

/// The parts of a core file that hold memory.
struct DumpLayout: Equatable, Sendable {
  /// A stretch of the file.
  struct Segment: Equatable, Sendable {
    /// The guest-physical address of its first byte.
    var address: UInt64
    /// Where it begins in the file.
    var fileOffset: UInt64
    /// Its length in the file, in bytes.
    var byteCount: UInt64
  }

  /// The stretches, in the order of the program headers; those without bytes are left out.
  private(set) var segments: [Segment] = []

  /// The most program headers: a machine's memory has a handful of ranges, a torn one thousands.
  static let headerLimit = 1 << 20

  /// A file that holds no memory, as the end of a sentence that begins with its name.
  struct Fault: Error, Equatable {
    let reason: String
  }

  /// Reads the headers of a file.
  ///
  /// - Parameters:
  ///   - fileByteCount: how long it is.
  ///   - read: gives so many bytes from an offset on, all of which lie in the file.
  init<Failure: Error>(
    fileByteCount: UInt64,
    _ read: (_ offset: UInt64, _ count: Int) throws(Failure) -> [UInt8]
  ) throws {
    guard fileByteCount >= 16 else { throw Fault(reason: "it is no ELF file; it is too short.") }
    let identity = try read(0, 16)
    try Self.checkIdentity(identity)
    let isWide = identity[4] == 2
    let size = isWide ? 64 : 52
    guard fileByteCount >= UInt64(size) else {
      throw Fault(reason: "it ends inside its ELF header: copy it again, whole.")
    }
    let header = ELFFields(try read(0, size), isBigEndian: identity[5] == 2, isWide: isWide)
    guard header.half(16) == 4 else {
      throw Fault(
        reason: "it is an ELF file of type \(header.half(16)), not a dump of memory (a core, type "
          + "4): give what dump-guest-memory wrote.")
    }
    let tableOffset = header.word(narrow: 28, wide: 32)
    let entrySize = Int(header.half(isWide ? 54 : 42))
    let count = try Self.headerCount(header, isWide, fileByteCount, read)
    guard entrySize >= (isWide ? 56 : 32), count > 0, count <= Self.headerLimit else {
      throw Fault(reason: "its ELF header makes no sense (\(count) segments): dump again.")
    }
    let tableSize = UInt64(entrySize * count)
    guard tableOffset <= fileByteCount, tableSize <= fileByteCount - tableOffset else {
      throw Fault(
        reason: "it ends inside its table of \(count) segments: the dump was cut short, or is "
          + "still being written.")
    }
    try readSegments(header, tableOffset, entrySize, count, fileByteCount, read)
    guard !segments.isEmpty else { throw Fault(reason: "it holds no memory at all.") }
  }

  private static func checkIdentity(_ identity: [UInt8]) throws(Fault) {
    let flattened = Array("makedumpfile".utf8)
    if identity.starts(with: Array("KDUMP   ".utf8)) || identity.starts(with: flattened) {
      throw Fault(
        reason: "it is a compressed dump (kdump): dump again without a format, which gives ELF.")
    }
    guard identity.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else {
      throw Fault(reason: "it is no ELF file: for an image of plain memory write raw:FILE.")
    }
    guard [1, 2].contains(identity[4]), [1, 2].contains(identity[5]), identity[6] == 1 else {
      throw Fault(
        reason: "it is an ELF file of an unknown kind (class \(identity[4]), byte order "
          + "\(identity[5]), version \(identity[6])).")
    }
  }

  /// How many program headers there are: beyond 65,534 the first section header says so.
  private static func headerCount<Failure: Error>(
    _ header: ELFFields, _ isWide: Bool, _ fileByteCount: UInt64,
    _ read: (UInt64, Int) throws(Failure) -> [UInt8]
  ) throws -> Int {
    let count = Int(header.half(isWide ? 56 : 44))
    guard count == 0xFFFF else { return count }
    let offset = header.word(narrow: 32, wide: 40)
    let size = isWide ? 64 : 40
    guard offset > 0, offset <= fileByteCount, UInt64(size) <= fileByteCount - offset else {
      throw Fault(reason: "it ends before the section that counts its segments: dump again.")
    }
    let section = ELFFields(
      try read(offset, size), isBigEndian: header.isBigEndian, isWide: isWide)
    return Int(section.full(isWide ? 44 : 28))
  }

  private mutating func readSegments<Failure: Error>(
    _ header: ELFFields, _ tableOffset: UInt64, _ entrySize: Int, _ count: Int,
    _ fileByteCount: UInt64, _ read: (UInt64, Int) throws(Failure) -> [UInt8]
  ) throws {
    let isWide = header.isWide
    for index in 0..<count {
      let entry = ELFFields(
        try read(tableOffset + UInt64(index * entrySize), isWide ? 56 : 32),
        isBigEndian: header.isBigEndian, isWide: isWide)
      guard entry.full(0) == 1 else { continue }  // PT_LOAD
      let segment = Segment(
        address: entry.word(narrow: 12, wide: 24), fileOffset: entry.word(narrow: 4, wide: 8),
        byteCount: entry.word(narrow: 16, wide: 32))
      guard segment.byteCount > 0 else { continue }
      guard segment.fileOffset <= fileByteCount,
        segment.byteCount <= fileByteCount - segment.fileOffset
      else {
        throw Fault(
          reason: "it is truncated: its segment \(index) has \(segment.byteCount) bytes from byte "
            + "\(segment.fileOffset) on, and the file ends at \(fileByteCount). Copy it again, or "
            + "wait until the dump is complete.")
      }
      segments.append(segment)
    }
  }

  /// The whole pages of each stretch: where they begin in the file, and how many there are.
  ///
  /// Pages are counted in the guest's addresses, wherever those lie in the file. What a stretch has
  /// of a page at its ends only is left out.
  func pageRuns(pageByteCount: Int) -> [PageFile.Run] {
    let size = UInt64(pageByteCount)
    return segments.compactMap { segment in
      let lead = (size - segment.address % size) % size
      guard segment.byteCount >= lead + size else { return nil }
      return PageFile.Run(
        fileOffset: segment.fileOffset + lead, pageCount: Int((segment.byteCount - lead) / size))
    }
  }
}

/// Fields of ELF structures, in the file's byte order and word size.
private struct ELFFields {
  let bytes: [UInt8]
  let isBigEndian: Bool
  let isWide: Bool

  init(_ bytes: [UInt8], isBigEndian: Bool, isWide: Bool) {
    self.bytes = bytes
    self.isBigEndian = isBigEndian
    self.isWide = isWide
  }

  func half(_ offset: Int) -> UInt16 { UInt16(truncatingIfNeeded: value(offset, 2)) }

  func full(_ offset: Int) -> UInt32 { UInt32(truncatingIfNeeded: value(offset, 4)) }

  /// A field of 4 or 8 bytes, at the place that it has in files of each word size.
  func word(narrow: Int, wide: Int) -> UInt64 { isWide ? value(wide, 8) : value(narrow, 4) }

  private func value(_ offset: Int, _ count: Int) -> UInt64 {
    let field = bytes[offset..<offset + count]
    return isBigEndian
      ? field.reduce(0) { $0 << 8 | UInt64($1) }
      : field.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
