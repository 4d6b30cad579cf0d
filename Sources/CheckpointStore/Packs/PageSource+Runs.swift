// Many pages at once: what lies together in the page table or in a pack is read together, and
// pages are hashed two by two.

import PageHash
import Synchronization

/// What a thread needs that reads runs of pages.
final class RunScratch: @unchecked Sendable {
  let codec = PageCodec()
  let payload: PageBuffer

  init(pageCount: Int) { payload = PageBuffer(pageCount: pageCount) }
}

extension PageSource {
  /// The most pages that are read from a pack in one go.
  private static let runPageCount = 64
  /// Entries between two wanted ones that are read with them.
  private static let entryGap: UInt64 = 16

  /// Reads the pages that references name, one after the other, without a look at their hashes.
  ///
  /// - Parameters:
  ///   - references: the pages; nil leaves its place in the room as it is.
  ///   - pages: as many pages as there are references.
  /// - Returns: for each whether something was read that may be it.
  func readUnverified(
    _ references: [PageReference?], into pages: inout MutableRawSpan
  ) -> [Bool] {
    read(entries(of: references), into: &pages)
  }

  /// Reads the pages that references name, one after the other, and verifies each.
  ///
  /// A page that could not be read or is not what it should be is not called damaged here: whoever
  /// wants it reads it alone, which looks twice and tells what is wrong.
  ///
  /// - Parameters:
  ///   - references: the pages; nil leaves its place in the room as it is.
  ///   - pages: as many pages as there are references.
  /// - Returns: for each whether its place holds the page now, verified.
  func readVerified(
    _ references: [PageReference?], into pages: inout MutableRawSpan, _ digester: Digester
  ) -> [Bool] {
    let entries = entries(of: references)
    var isSound = read(entries, into: &pages)
    func place(_ index: Int) -> Range<Int> {
      index * storePageSize..<(index + 1) * storePageSize
    }
    var waiting: Int?
    for index in isSound.indices where isSound[index] {
      guard let first = waiting else {
        waiting = index
        continue
      }
      let hashes = digester.hashPages(
        pages.bytes.extracting(place(first)), pages.bytes.extracting(place(index)))
      isSound[first] = hashes.0 == entries[first]?.hash
      isSound[index] = hashes.1 == entries[index]?.hash
      waiting = nil
    }
    if let last = waiting {
      isSound[last] =
        digester.hash(pages.bytes.extracting(place(last))) == entries[last]?.hash
    }
    return isSound
  }

  /// Reads what entries describe; for each whether something was read.
  private func read(_ entries: [PageEntry?], into pages: inout MutableRawSpan) -> [Bool] {
    var isRead = [Bool](repeating: false, count: entries.count)
    var start = 0
    while start < entries.count {
      guard let first = entries[start]?.location else {
        start += 1
        continue
      }
      var (end, last) = (start + 1, first)
      while end < entries.count, end - start < Self.runPageCount,
        let next = entries[end]?.location, next.pack == last.pack, next.offset == last.end
      {
        last = next
        end += 1
      }
      let run = entries[start..<end].compactMap { $0?.location }
      var part = pages._mutatingExtracting(start * storePageSize..<end * storePageSize)
      for (place, isHere) in read(run, into: &part).enumerated() { isRead[start + place] = isHere }
      start = end
    }
    return isRead
  }

  /// The entries of pages that may be what references name.
  private func entries(of references: [PageReference?]) -> [PageEntry?] {
    var found = [PageEntry?](repeating: nil, count: references.count)
    var start = 0
    while start < references.count {
      guard let first = references[start]?.number else {
        start += 1
        continue
      }
      var (end, last) = (start + 1, first)
      while end < references.count, let next = references[end]?.number, next >= last,
        next - last <= Self.entryGap
      {
        last = next
        end += 1
      }
      let some = (try? table.entries(from: first, count: Int(last - first) + 1)) ?? []
      for index in start..<end {
        guard let reference = references[index], case let place = Int(reference.number - first),
          place < some.count, !some[place].isFree,
          some[place].hash.fingerprint == reference.fingerprint,
          (1...storePageSize).contains(some[place].location.length)
        else { continue }
        found[index] = some[place]
      }
      start = end
    }
    return found
  }

  /// Reads pages that lie one behind the other in one pack; which of them could be.
  private func read(_ run: [PageLocation], into pages: inout MutableRawSpan) -> [Bool] {
    let none = [Bool](repeating: false, count: run.count)
    guard let first = run.first, let last = run.last,
      let pack = try? packs.pack(first.pack)
    else { return none }
    if run.allSatisfy({ $0.length == storePageSize }) {
      let got = ((try? pack.read(into: &pages, at: first.offset)) ?? 0) / storePageSize
      return run.indices.map { $0 < got }
    }
    let scratch = spareRuns.withLock { $0.popLast() } ?? RunScratch(pageCount: Self.runPageCount)
    defer { spareRuns.withLock { if $0.count < 16 { $0.append(scratch) } } }
    let buffer = scratch.payload
    let size = Int(last.end - first.offset)
    let got =
      buffer.withMutableBytes(0..<size) { bytes in try? pack.read(into: &bytes, at: first.offset) }
      ?? 0
    return run.indices.map { index in
      let start = Int(run[index].offset - first.offset)
      guard start + run[index].length <= got else { return false }
      var page = pages._mutatingExtracting(index * storePageSize..<(index + 1) * storePageSize)
      return buffer.withBytes(start..<start + run[index].length) { bytes in
        guard bytes.byteCount < storePageSize else {
          copyBytes(bytes, into: &page)
          return true
        }
        return scratch.codec.expand(bytes, into: &page) == nil
      }
    }
  }
}
