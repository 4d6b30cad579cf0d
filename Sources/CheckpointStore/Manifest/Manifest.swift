// A manifest, opened: its description checked at once, its references mapped and checked chunk by
// chunk as they are first used.

import Glibc
import PageHash

/// The references of a checkpoint.
///
/// Opening costs the same for any amount of RAM.
final class Manifest: Sendable {
  let description: ManifestDescription
  let layout: ManifestLayout
  private let file: File
  private let name: String
  private let words: MappedWords
  private let checked: AtomicBits
  /// The first chunk of each block.
  private let firstChunk: [Int]

  /// Opens a manifest and keeps collects from freeing what it needs.
  ///
  /// - Parameters:
  ///   - path: the manifest's file.
  ///   - digest: what SHA-256 of its header page must be; nil where it is not known.
  /// - Returns: nil where there is no such file (any more).
  static func open(
    _ path: String, name: String, digest: ContentHash?
  ) throws(StoreError) -> Manifest? {
    let file: File
    do throws(StoreError) {
      file = try File.open(path, O_RDONLY, doing: "opening the manifest")
    } catch {
      guard case .system(_, _, ENOENT) = error else { throw error }
      return nil
    }
    // A shared lock says "in use" to a collect; it goes when the file is closed.
    guard try FileLock.attempt(on: file, .shared), try file.isLinked() else { return nil }
    return try Manifest(file, name: name, digest: digest)
  }

  private init(_ file: File, name: String, digest: ContentHash?) throws(StoreError) {
    let digester = try Digester.make()
    func damage(_ what: String) -> StoreError {
      .damaged(Damage(checkpoint: name, file: Manifest.relative(file.path), what: what))
    }
    let header = try file.read(count: 4096, at: 0)
    guard let layout = ManifestLayout(header, digester) else {
      throw damage("its header is not what was written")
    }
    if let digest, digester.hash(header) != digest {
      throw damage("it is not the manifest that the catalogue lists")
    }
    guard try file.byteCount() == layout.byteCount else {
      throw damage("it has another length than the \(layout.byteCount) bytes written")
    }
    let bytes = try file.read(count: Int(layout.descriptionSize), at: layout.descriptionOffset)
    guard digester.hash(bytes) == layout.descriptionDigest,
      let description = ManifestDescription(bytes)
    else { throw damage("its description (device state, configuration) is not what was written") }
    var chunks: [Int] = []
    var next = 0
    for block in description.info.blocks {
      chunks.append(next)
      next += Int(ManifestLayout.chunkCount(block))
    }
    guard UInt64(next) == layout.chunkCount else {
      throw damage("its blocks do not fit its length")
    }
    self.file = file
    self.name = name
    self.layout = layout
    self.description = description
    firstChunk = chunks
    checked = AtomicBits(count: next)
    words = try MappedWords(file, count: Int(layout.byteCount / 8), writable: false)
  }

  /// The path below the store's folder, for messages.
  static func relative(_ path: String) -> String {
    path.split(separator: "/").suffix(2).joined(separator: "/")
  }

  /// The reference at a page of a block.
  ///
  /// - Parameters:
  ///   - block: index of the block; it must exist.
  ///   - page: 4 KiB page in the block; it must exist.
  func reference(block: Int, page: UInt64) throws(StoreError) -> PageReference {
    let chunk = firstChunk[block] + Int(page / UInt64(ManifestLayout.chunkWords))
    if !checked[chunk] { try check(chunk, block: block) }
    words.noteAccess()
    let index = Int(layout.referencesOffset / 8) + firstChunk[block] * ManifestLayout.chunkWords
    return PageReference(rawValue: words[index + Int(page)])
  }

  /// Checks a chunk against its digest.
  ///
  /// It is read by a system call first: where the disk fails, that gives an error, and a touched
  /// mapping a signal.
  private func check(_ chunk: Int, block: Int) throws(StoreError) {
    let content = try file.read(
      count: 4096, at: layout.referencesOffset + UInt64(chunk) * 4096)
    let stored = try file.read(
      count: 32, at: layout.digestsOffset + UInt64(chunk) * ManifestLayout.digestSize)
    var reader = FieldReader(stored)
    let digester = try Digester.make()
    guard reader.nextHash() == layout.chunkDigest(UInt64(chunk), content, digester) else {
      let page = UInt64(chunk - firstChunk[block]) * UInt64(ManifestLayout.chunkWords)
      throw .damaged(
        Damage(
          checkpoint: name, block: description.info.blocks[block].name,
          pageOffset: page * UInt64(storePageSize), file: Manifest.relative(file.path),
          what: "the 512 page references from there on are not what was written"))
    }
    checked.set(chunk)
  }

  /// Calls `body` with every page of a block in order, and its reference; what `failed` is told of
  /// (512 pages at a time) is passed over.
  func forEachPage(
    block: Int, _ body: (UInt64, PageReference) throws(StoreError) -> Void,
    failed: (StoreError) throws(StoreError) -> Void
  ) throws(StoreError) {
    let pages = description.info.blocks[block].byteCount / UInt64(storePageSize)
    let base = Int(layout.referencesOffset / 8) + firstChunk[block] * ManifestLayout.chunkWords
    var page: UInt64 = 0
    while page < pages {
      let end = min(page + UInt64(ManifestLayout.chunkWords), pages)
      do throws(StoreError) {
        // The first of a chunk checks it, and accounts for the run that follows.
        _ = try reference(block: block, page: page)
      } catch {
        try failed(error)
        page = end
        continue
      }
      while page < end {
        try body(page, PageReference(rawValue: words[base + Int(page)]))
        page += 1
      }
    }
  }

  /// What is wrong with the bytes that nothing refers to: they must be zero.
  func checkPadding() throws(StoreError) -> Damage? {
    let start = layout.digestsOffset + layout.chunkCount * ManifestLayout.digestSize
    let bytes = try file.read(count: Int(layout.referencesOffset - start), at: start)
    guard bytes.contains(where: { $0 != 0 }) else { return nil }
    return Damage(
      checkpoint: name, file: Manifest.relative(file.path),
      what: "the padding behind its digests is not zero")
  }
}
