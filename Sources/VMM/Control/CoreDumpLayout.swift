// An ELF core of a machine: what stands before the memory in it (System V ABI, "Object Files" and
// "Program Loading"; the note of registers is Linux's struct elf_prstatus for x86-64).
//
//   ELF header · program headers · notes · the memory ranges one after the other
//
// Each vCPU has two notes: CORE/NT_PRSTATUS, which debuggers know, and QEMU's own, which adds the
// segments, tables and control registers that crash(8) needs to find a kernel's page tables.

/// The front of a core file, and where its memory lies.
struct CoreDumpLayout {
  /// A range of guest-physical memory in the file.
  struct Range: Equatable {
    /// Its guest-physical address.
    var address: UInt64
    /// Its length in bytes.
    var byteCount: UInt64
  }

  /// Everything that stands before the memory.
  let front: [UInt8]
  /// The ranges in the order in which they follow.
  let ranges: [Range]

  /// The most ranges: a program header more than this has no number to count it.
  static let rangeLimit = 0xFFFE

  private static let headerByteCount = 64
  private static let programHeaderByteCount = 56

  /// The front of a core of these vCPUs and ranges, at most ``rangeLimit``.
  init(processors: [ProcessorRegisters], ranges: [Range]) {
    let notes = Self.notes(of: processors)
    let notesOffset = Self.headerByteCount + Self.programHeaderByteCount * (ranges.count + 1)
    var bytes = LittleEndianBytes()
    Self.appendHeader(to: &bytes, programHeaderCount: ranges.count + 1)
    // PT_NOTE is 4, PT_LOAD is 1.
    Self.appendProgramHeader(
      to: &bytes, type: 4, offset: UInt64(notesOffset),
      Range(address: 0, byteCount: UInt64(notes.count)))
    var offset = UInt64(notesOffset + notes.count)
    for range in ranges {
      Self.appendProgramHeader(to: &bytes, type: 1, offset: offset, range)
      offset += range.byteCount
    }
    front = bytes.bytes + notes
    self.ranges = ranges
  }

  /// Bytes of memory in the file.
  var memoryByteCount: UInt64 { ranges.reduce(0) { $0 + $1.byteCount } }

  private static func appendHeader(to bytes: inout LittleEndianBytes, programHeaderCount: Int) {
    // "\u{7F}ELF", 64 bits, little-endian, version 1, System V.
    bytes.append([0x7F, 0x45, 0x4C, 0x46, 2, 1, 1, 0] as [UInt8])
    bytes.append(UInt64(0))
    bytes.append(UInt16(4))  // ET_CORE
    bytes.append(UInt16(62))  // EM_X86_64
    bytes.append(UInt32(1))
    bytes.append(UInt64(0))  // No entry point.
    bytes.append(UInt64(headerByteCount))
    bytes.append(UInt64(0))  // No sections.
    bytes.append(UInt32(0))
    bytes.append(UInt16(headerByteCount))
    bytes.append(UInt16(programHeaderByteCount))
    bytes.append(UInt16(programHeaderCount))
    bytes.append(UInt16(0))
    bytes.append(UInt16(0))
    bytes.append(UInt16(0))
  }

  private static func appendProgramHeader(
    to bytes: inout LittleEndianBytes, type: UInt32, offset: UInt64, _ range: Range
  ) {
    bytes.append(type)
    bytes.append(UInt32(0))
    bytes.append(offset)
    bytes.append(UInt64(0))  // Physical memory has no virtual address of its own.
    bytes.append(range.address)
    bytes.append(range.byteCount)
    bytes.append(range.byteCount)
    bytes.append(UInt64(0))
  }

  private static func notes(of processors: [ProcessorRegisters]) -> [UInt8] {
    var bytes = LittleEndianBytes()
    for index in processors.indices {
      append(note: status(of: processors[index], number: index + 1), type: 1, "CORE", to: &bytes)
    }
    for registers in processors {
      append(note: monitorState(of: registers), type: 0, "QEMU", to: &bytes)
    }
    return bytes.bytes
  }

  private static func append(
    note: [UInt8], type: UInt32, _ name: StaticString, to bytes: inout LittleEndianBytes
  ) {
    let name = Array("\(name)".utf8) + [0]
    bytes.append(UInt32(name.count))
    bytes.append(UInt32(note.count))
    bytes.append(type)
    bytes.append(name)
    bytes.append([UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4))
    bytes.append(note)
    bytes.append([UInt8](repeating: 0, count: (4 - bytes.count % 4) % 4))
  }

  /// struct elf_prstatus: 112 bytes of a process's state, struct user_regs_struct, a word.
  private static func status(of registers: ProcessorRegisters, number: Int) -> [UInt8] {
    var bytes = LittleEndianBytes()
    bytes.append([UInt8](repeating: 0, count: 32))
    bytes.append(UInt32(number))  // pr_pid: which vCPU
    bytes.append([UInt8](repeating: 0, count: 76))
    let general = registers.general, segments = registers.segments
    // R15 to R12, RBP, RBX, R11 to R8, RAX, RCX, RDX, RSI, RDI, and RAX as a system call had it.
    for index in [15, 14, 13, 12, 6, 1, 11, 10, 9, 8, 0, 2, 3, 4, 5] {
      bytes.append(general[index])
    }
    bytes.append(UInt64(0))
    bytes.append(registers.instructionPointer)
    bytes.append(UInt64(segments[1].selector))
    bytes.append(registers.flags)
    bytes.append(general[7])
    bytes.append(UInt64(segments[2].selector))
    bytes.append(segments[4].base)
    bytes.append(segments[5].base)
    for index in [3, 0, 4, 5] { bytes.append(UInt64(segments[index].selector)) }
    bytes.append(UInt64(0))
    return bytes.bytes
  }

  /// QEMU's note, version 1, 440 bytes.
  private static func monitorState(of registers: ProcessorRegisters) -> [UInt8] {
    var bytes = LittleEndianBytes()
    bytes.append(UInt32(1))
    bytes.append(UInt32(440))
    let general = registers.general
    // RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP.
    for index in [0, 1, 2, 3, 4, 5, 7, 6] + Array(8...15) { bytes.append(general[index]) }
    bytes.append(registers.instructionPointer)
    bytes.append(registers.flags)
    let segments = registers.segments
    for index in [1, 3, 0, 4, 5, 2] { append(segments[index], to: &bytes) }
    append(registers.localTable, to: &bytes)
    append(registers.task, to: &bytes)
    for table in [registers.globalTable, registers.interruptTable] {
      append(ProcessorRegisters.Segment(base: table.base, limit: table.limit), to: &bytes)
    }
    // CR0 to CR4; there is no CR1.
    for value in [registers.control[0], 0] + registers.control[1...3] { bytes.append(value) }
    bytes.append(registers.kernelGSBase)
    return bytes.bytes
  }

  private static func append(
    _ segment: ProcessorRegisters.Segment, to bytes: inout LittleEndianBytes
  ) {
    bytes.append(UInt32(segment.selector))
    bytes.append(segment.limit)
    bytes.append(segment.attributes)
    bytes.append(UInt32(0))
    bytes.append(segment.base)
  }
}
