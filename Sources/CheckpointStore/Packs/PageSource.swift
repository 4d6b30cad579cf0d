// One page out of the store, proven to be what was put in.

import PageHash
import Synchronization

/// Reads pages by reference and verifies each against its hash.
///
/// Any thread may read at any time.
final class PageSource: Sendable {
  let table: PageTable
  let packs: PackFiles
  private let spare = Mutex<[Scratch]>([])
  let spareRuns = Mutex<[RunScratch]>([])

  /// What one reading thread needs.
  final class Scratch: @unchecked Sendable {
    let digester: Digester
    let codec = PageCodec()
    let payload = PageBuffer(pageCount: 1)

    init() throws(StoreError) { digester = try Digester.make() }
  }

  init(table: PageTable, packs: PackFiles) {
    self.table = table
    self.packs = packs
  }

  /// Reads the page that a reference names.
  ///
  /// A collect may move a page between our reading its entry and its pack, so what does not fit is
  /// looked up a second time before it counts as damage.
  ///
  /// - Parameter page: exactly one page; zeroed if this throws.
  func read(
    _ reference: PageReference, into page: inout MutableRawSpan
  ) throws(StoreError) {
    do throws(StoreError) {
      for isLast in [false, true] {
        let entry = try table.entry(reference.number)
        let wrong: Damage?
        if entry.isFree || entry.hash.fingerprint != reference.fingerprint {
          wrong = Damage(
            file: "pages/table", what: "entry \(reference.number) is not the page that was stored")
        } else {
          wrong = try read(entry, number: reference.number, into: &page)
        }
        guard let wrong else { return }
        if isLast { throw .damaged(wrong) }
        packs.forget(entry.location.pack)
      }
    } catch {
      zeroBytes(&page)
      throw error
    }
  }

  /// Reads what an entry describes; what is wrong with it, if anything is.
  func read(
    _ entry: PageEntry, number: UInt64, into page: inout MutableRawSpan
  ) throws(StoreError) -> Damage? {
    let location = entry.location
    // Only damage needs it, and most pages are sound: not to be made for each.
    var name: String { "packs/" + PackFiles.name(location.pack) }
    guard location.length > 0, location.length <= storePageSize else {
      return Damage(file: "pages/table", what: "entry \(number) has the length \(location.length)")
    }
    guard let pack = try packs.pack(location.pack) else {
      return Damage(file: name, what: "the file is missing (page \(number) should be in it)")
    }
    let scratch: Scratch
    if let kept = spare.withLock({ $0.popLast() }) {
      scratch = kept
    } else {
      scratch = try Scratch()
    }
    defer { spare.withLock { if $0.count < 64 { $0.append(scratch) } } }
    let got: Int
    if location.length == storePageSize {
      got = try pack.read(into: &page, at: location.offset)
    } else {
      got = try scratch.payload.withMutableBytes(0..<location.length) {
        (payload) throws(StoreError) in try pack.read(into: &payload, at: location.offset)
      }
    }
    guard got == location.length else {
      return Damage(
        file: name, what: "it ends before page \(number), at offset \(location.offset)")
    }
    if location.length < storePageSize {
      let wrong = scratch.payload.withBytes(0..<location.length) { payload in
        scratch.codec.expand(payload, into: &page)
      }
      if let wrong {
        return Damage(file: name, what: "page \(number) at offset \(location.offset): \(wrong)")
      }
    }
    guard scratch.digester.hash(page.bytes) == entry.hash else {
      return Damage(
        file: name,
        what: "page \(number) at offset \(location.offset) does not match its SHA-256")
    }
    return nil
  }
}
