// Pages that hold nothing, as the kernel tells: they are zeros, and need not be read to know it.
//
// Reading them instead costs a fault each, and in shared memory takes memory for each.

internal import CLinux
internal import Glibc
internal import Transport

extension RAMBlock {
  /// The pages of a part of the block that were never written, or were given back since.
  ///
  /// Such a page reads as zeros. A page that is not among them may be zeros too: what the kernel
  /// does not tell for certain is left out, and so is all of a block that a file lies under.
  /// - Parameters:
  ///   - offset: bytes from the block's beginning: whole pages.
  ///   - byteCount: how many bytes.
  /// - Returns: runs of page numbers in the block, ascending, as of some instant of the call for
  ///   each page.
  public func untouchedRuns(offset: Int, byteCount: Int) -> [Range<Int>] {
    let range = offset..<offset + byteCount
    precondition(
      byteCount >= 0 && offset >= 0 && range.upperBound <= self.byteCount, "inside its block")
    return untouchedRuns(in: range)
  }
}

extension MemoryMapping {
  /// Entries of the page table that are asked for at once: 8 bytes each.
  private static let entriesPerLook = 1 << 15
  /// Bits 63 and 62 of an entry: the page is present, or swapped out.
  ///
  /// They are in Documentation/admin-guide/mm/pagemap.rst. `mincore` does not do instead: it does
  /// not tell a page that is swapped out from one that was never touched.
  private static let held: UInt64 = 0b11 << 62

  /// The pages of a range of bytes that have no memory, in memory of this process alone.
  func untouchedRuns(in range: Range<Int>) -> [Range<Int>] {
    let pageSize = Self.hostPageSize
    var pages = range.lowerBound / pageSize..<range.upperBound / pageSize
    let number = unsafe open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { return [] }
    let descriptor = OwnedDescriptor(adopting: number)
    // SAFETY: the address leaves as a number.
    let firstPage = unsafe Int(bitPattern: base) / pageSize
    var entries = [UInt64](repeating: 0, count: min(Self.entriesPerLook, max(pages.count, 1)))
    var runs = PageRuns()
    while !pages.isEmpty {
      let count = min(pages.count, entries.count)
      // SAFETY: the array has room for so many entries.
      let byteCount = unsafe entries.withUnsafeMutableBytes { bytes in
        unsafe pread(
          descriptor.raw, bytes.baseAddress, count * 8, off_t((firstPage + pages.lowerBound) * 8))
      }
      let found = max(0, byteCount / 8)
      // What the kernel does not tell is not known.
      guard found > 0 else { break }
      for index in 0..<found where entries[index] & Self.held == 0 {
        let page = pages.lowerBound + index
        runs.append(page..<page + 1)
      }
      pages = pages.lowerBound + found..<pages.upperBound
    }
    return runs.all
  }

  /// The pages of a range of bytes that a file has no memory for, which is mapped here.
  ///
  /// Nobody touches the mapping: its page table is empty, so that the kernel looks into the file.
  /// It takes as long as the range is, not as long as the file is: SEEK_HOLE alone would walk
  /// through all that is there.
  /// - Parameter file: the number of the file's descriptor.
  func untouchedRuns(ofFile file: Int32, in range: Range<Int>) -> [Range<Int>] {
    let pageSize = Self.hostPageSize
    var pages = range.lowerBound / pageSize..<range.upperBound / pageSize
    var residence = [UInt8](repeating: 0, count: min(Self.entriesPerLook, max(pages.count, 1)))
    var runs = PageRuns()
    while !pages.isEmpty {
      let part = pages.prefix(residence.count)
      // SAFETY: the range is inside the mapping and begins at a page; there is a byte a page.
      let isKnown = unsafe residence.withUnsafeMutableBufferPointer { bytes in
        unsafe mincore(
          base + part.lowerBound * pageSize, part.count * pageSize, bytes.baseAddress) == 0
      }
      guard isKnown else { break }
      var page = part.lowerBound
      while page < part.upperBound {
        guard residence[page - part.lowerBound] & 1 == 0 else {
          page += 1
          continue
        }
        // It is not in memory: never written, or swapped out, which counts as data here. Behind
        // the last data there is none (ENXIO). The descriptor's position is used by nobody.
        let data = lseek(file, off_t(page * pageSize), SEEK_DATA)
        guard data >= 0 || errno == ENXIO else { return runs.all }
        let end = data < 0 ? part.upperBound : min(Int(data) / pageSize, part.upperBound)
        runs.append(page..<end)
        page = end + 1
      }
      pages = part.upperBound..<pages.upperBound
    }
    return runs.all
  }
}

extension OwnedDescriptor {
  /// Maps the beginning of shared memory once more; nil where the host refuses.
  borrowing func mapAnew(_ byteCount: Int, for name: String) -> MemoryMapping? {
    try? MemoryMapping(byteCount, of: self, isShared: true, for: name)
  }
}

/// Pages in ascending order, as runs.
private struct PageRuns {
  private(set) var all: [Range<Int>] = []

  mutating func append(_ run: Range<Int>) {
    if let last = all.last, last.upperBound == run.lowerBound {
      all[all.count - 1] = last.lowerBound..<run.upperBound
    } else if !run.isEmpty {
      all.append(run)
    }
  }
}
