// Plans for kernels: Linux by its 64-bit boot protocol, ELF kernels by PVH or as Linux.

import GuestMemory

extension BootPlan {
  /// The plan for a kernel image of any kind that is known.
  ///
  /// - Parameters:
  ///   - kernel: the image's bytes and its path.
  ///   - initrd: the initial RAM disk's bytes; nil where there is none.
  ///   - commandLine: the kernel's command line.
  ///   - layout: the machine's memory.
  ///   - firmware: the address of the ACPI tables' root.
  static func kernel(
    _ kernel: (path: String, bytes: [UInt8]), initrd: [UInt8]?, commandLine: String,
    layout: GuestLayout, firmware: GuestAddress
  ) throws(MachineError) -> BootPlan {
    let request = KernelRequest(
      initrd: initrd, commandLine: commandLine, layout: layout, firmware: firmware)
    do throws(BootImageError) {
      if LinuxImage.isOne(kernel.bytes) {
        return try linux(LinuxImage(kernel.bytes), request)
      }
      guard ELFImage.isOne(kernel.bytes) else {
        throw BootImageError(
          "it is no kernel: neither a Linux bzImage nor an ELF file; give --kernel a vmlinuz")
      }
      return try elf(ELFImage(kernel.bytes), request)
    } catch {
      throw .boot(path: kernel.path, reason: "\(error)")
    }
  }

  /// What comes with a kernel.
  struct KernelRequest: Sendable {
    let initrd: [UInt8]?
    let commandLine: String
    let layout: GuestLayout
    let firmware: GuestAddress

    /// The command line as a piece of memory, ended by a zero.
    func commandLinePiece(limit: Int) throws(BootImageError) -> Piece {
      let bytes = [UInt8](commandLine.utf8)
      guard bytes.count <= limit, !bytes.contains(0) else {
        throw BootImageError(
          "its command line has \(bytes.count) bytes, and it takes \(limit) at most, without zeroes"
        )
      }
      return Piece("the command line", at: GuestLayout.commandLine, bytes + [0])
    }

    /// The initial RAM disk as high as it may lie, in whole pages.
    func ramDiskPiece(limit: UInt64) throws(BootImageError) -> Piece? {
      guard let initrd else { return nil }
      let end = min(limit &+ 1, layout.lowByteCount) & ~0xFFF
      let size = (UInt64(initrd.count) + 0xFFF) & ~0xFFF
      guard end >= size + GuestLayout.kernel else {
        throw BootImageError(
          "its initial RAM disk of \(initrd.count >> 20) MiB does not fit into the memory")
      }
      return Piece("the initial RAM disk", at: GuestAddress(end - size), initrd)
    }
  }

  // Linux

  private static func linux(
    _ image: LinuxImage, _ request: KernelRequest
  ) throws(BootImageError) -> BootPlan {
    let load = image.isRelocatable ? GuestLayout.kernel : image.preferredAddress
    let commandLine = try request.commandLinePiece(
      limit: min(image.commandLineLimit, GuestLayout.commandLineLimit - 1))
    let ramDisk = try request.ramDiskPiece(limit: image.ramDiskLimit)
    // It unpacks itself to where it likes to run and needs its first memory there.
    let end = max(load, image.preferredAddress) + image.initialByteCount
    var plan = BootPlan(start: .resetVector)
    plan.pieces = [
      Piece(
        "the kernel", at: GuestAddress(load), image.bytes[image.kernelOffset...], upTo: end - load),
      commandLine,
      Piece(
        "the boot parameters", at: GuestLayout.bootParameters,
        bootParameters(header: image.bytes[image.header], ramDisk: ramDisk, request)),
    ]
    if let ramDisk { plan.pieces.append(ramDisk) }
    plan.enterLong(GuestAddress(load + 0x200), rsi: GuestLayout.bootParameters, request.layout)
    return plan
  }

  /// Linux's boot parameters ("zero page"), offsets as its documentation has them.
  private static func bootParameters(
    header: ArraySlice<UInt8>, ramDisk: Piece?, _ request: KernelRequest
  ) -> [UInt8] {
    var page = LittleEndianBytes(zeroes: 4096)
    page.put(header, at: LinuxImage.headerOffset)
    page.put(request.firmware.rawValue, at: 0x70)  // acpi_rsdp_addr
    page.put(0xFF as UInt8, at: 0x210)  // type_of_loader: none of the registered ones
    page.put(UInt32(GuestLayout.commandLine.rawValue), at: 0x228)  // cmd_line_ptr
    if let ramDisk {
      page.put(UInt32(truncatingIfNeeded: ramDisk.address.rawValue), at: 0x218)  // ramdisk_image
      page.put(UInt32(truncatingIfNeeded: ramDisk.bytes.count), at: 0x21C)  // ramdisk_size
    }
    let map = request.layout.memoryMap
    page.put(UInt8(map.count), at: 0x1E8)  // e820_entries
    for (index, entry) in map.enumerated() {
      let offset = 0x2D0 + index * 20
      page.put(entry.range.lowerBound, at: offset)
      page.put(UInt64(entry.range.count), at: offset + 8)
      page.put(entry.kind.rawValue, at: offset + 16)
    }
    return page.bytes
  }

  /// Enters 64-bit code with all memory mapped one to one.
  mutating func enterLong(_ entry: GuestAddress, rsi: GuestAddress, _ layout: GuestLayout) {
    pieces.append(
      Piece("the descriptor table", at: GuestLayout.descriptorTable, StartTables.descriptors))
    pieces.append(
      Piece(
        "the page tables", at: GuestLayout.pageTables,
        StartTables.pageTables(at: GuestLayout.pageTables, reaching: layout.top)))
    start = .long(
      entry: entry, rsi: rsi, pageTable: GuestLayout.pageTables,
      descriptorTable: GuestLayout.descriptorTable)
  }

  // ELF

  private static func elf(
    _ image: ELFImage, _ request: KernelRequest
  ) throws(BootImageError) -> BootPlan {
    var plan = BootPlan(start: .resetVector)
    for segment in image.segments {
      plan.pieces.append(
        Piece(
          "the kernel", at: GuestAddress(segment.address), image.bytes[segment.bytes],
          upTo: segment.memoryByteCount))
    }
    plan.pieces.append(
      try request.commandLinePiece(limit: GuestLayout.commandLineLimit - 1))
    let ramDisk = try request.ramDiskPiece(limit: 0x7FFF_FFFF)
    if let ramDisk { plan.pieces.append(ramDisk) }
    if let entry = image.pvhEntry {
      plan.pieces.append(
        Piece(
          "the start information", at: GuestLayout.startInfo,
          startInfo(ramDisk: ramDisk, request)))
      plan.start = .protected(entry: GuestAddress(entry), ebx: GuestLayout.startInfo)
    } else {
      // Without a note it can only be Linux itself, which takes its boot parameters here too.
      var header = LittleEndianBytes(zeroes: 0x90)
      header.put(0xAA55 as UInt16, at: 0x1FE - LinuxImage.headerOffset)
      header.put(0x5372_6448 as UInt32, at: 0x202 - LinuxImage.headerOffset)
      header.put(0x20F as UInt16, at: 0x206 - LinuxImage.headerOffset)
      plan.pieces.append(
        Piece(
          "the boot parameters", at: GuestLayout.bootParameters,
          bootParameters(header: header.bytes[...], ramDisk: ramDisk, request)))
      plan.enterLong(GuestAddress(image.entry), rsi: GuestLayout.bootParameters, request.layout)
    }
    return plan
  }

  /// The PVH boot protocol's hvm_start_info, version 1, with its memory map and module list.
  private static func startInfo(ramDisk: Piece?, _ request: KernelRequest) -> [UInt8] {
    let map = request.layout.memoryMap
    let mapOffset: UInt64 = 0x40
    let moduleOffset: UInt64 = 0x200
    let base = GuestLayout.startInfo.rawValue
    var info = LittleEndianBytes(zeroes: 0x240)
    info.put(0x336E_C578 as UInt32, at: 0)
    info.put(1 as UInt32, at: 4)
    info.put(UInt32(ramDisk == nil ? 0 : 1), at: 12)
    info.put(ramDisk == nil ? 0 : base + moduleOffset, at: 16)
    info.put(GuestLayout.commandLine.rawValue, at: 24)
    info.put(request.firmware.rawValue, at: 32)
    info.put(base + mapOffset, at: 40)
    info.put(UInt32(map.count), at: 48)
    for (index, entry) in map.enumerated() {
      let offset = Int(mapOffset) + index * 24
      info.put(entry.range.lowerBound, at: offset)
      info.put(UInt64(entry.range.count), at: offset + 8)
      info.put(entry.kind.rawValue, at: offset + 16)
    }
    if let ramDisk {
      info.put(ramDisk.address.rawValue, at: Int(moduleOffset))
      info.put(UInt64(ramDisk.bytes.count), at: Int(moduleOffset) + 8)
    }
    return info.bytes
  }

  // Flat images

  /// The plan for bytes that are entered at their beginning in 64-bit mode.
  static func flat(
    _ bytes: [UInt8], at address: GuestAddress, layout: GuestLayout
  ) -> BootPlan {
    var plan = BootPlan(start: .resetVector)
    plan.pieces = [Piece("the image", at: address, bytes)]
    plan.enterLong(address, rsi: GuestAddress(0), layout)
    return plan
  }
}
