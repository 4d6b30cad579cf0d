// A block's content as one file, so that many guests can map it and share what they do not write.

import Glibc

extension Checkpoint {
  /// The path of a file with a block's whole content, for guests to map privately; made if needed.
  ///
  /// Every page is verified as it is written; zero pages stay holes. The file is a cache: it is
  /// good for as long as this host is up, is made again after that, and may be deleted at any time.
  public func flatImage(block: Int) throws(StoreError) -> String {
    try check(block, 0, 0)
    try Folder.make(store.layout.images)
    let path = imagePath(block)
    if try isImage(path, block) { return path }
    let lock = try FileLock.wait(path + ".lock", .exclusive)
    defer { withExtendedLifetime(lock) {} }
    if try isImage(path, block) { return path }
    let draft = path + ".draft"
    do throws(StoreError) {
      try writeImage(draft, block)
      try Folder.rename(draft, to: path)
    } catch {
      try? Folder.removeFile(draft)
      throw error
    }
    return path
  }

  /// The image's name holds this boot's identity: it is not synced, since only the page cache of
  /// the running system vouches for it.
  func imagePath(_ block: Int) -> String {
    store.layout.images + "/\(info.id)-\(block)-\(Checkpoint.bootTag()).raw"
  }

  /// Eight digits that are others after every boot.
  static func bootTag() -> String {
    let boot = try? File.open("/proc/sys/kernel/random/boot_id", O_RDONLY).read(count: 36, at: 0)
    return String(decoding: (boot ?? []).prefix(8), as: UTF8.self)
  }

  private func isImage(_ path: String, _ block: Int) throws(StoreError) -> Bool {
    guard Folder.exists(path) else { return false }
    return try File.open(path, O_RDONLY).byteCount() == blocks[block].byteCount
  }

  private func writeImage(_ path: String, _ block: Int) throws(StoreError) {
    let image = try File.open(path, O_RDWR | O_CREAT | O_TRUNC, doing: "making a flat image")
    try image.truncate(to: blocks[block].byteCount)
    let pages = Int(blocks[block].byteCount / UInt64(storePageSize))
    try inParallel(pages, step: 4096) { (part) throws(StoreError) in
      try self.writeImage(image, block, part)
    }
  }

  private func writeImage(
    _ image: File, _ block: Int, _ part: Range<Int>
  ) throws(StoreError) {
    let buffer = PageBuffer(pageCount: 64)
    // Pages that lie behind each other go out in one write.
    var start = 0
    var held = 0
    func flush() throws(StoreError) {
      guard held > 0 else { return }
      try buffer.withBytes(0..<held * storePageSize) { (bytes) throws(StoreError) in
        try image.write(bytes, at: UInt64(start * storePageSize))
      }
      held = 0
    }
    for page in part {
      let reference = try manifest.reference(block: block, page: UInt64(page))
      if reference == .zero { continue }
      if held == buffer.pageCount || page != start + held { try flush() }
      if held == 0 { start = page }
      do throws(StoreError) {
        try buffer.withMutableBytes(held * storePageSize..<(held + 1) * storePageSize) {
          (bytes) throws(StoreError) in try store.source.read(reference, into: &bytes)
        }
      } catch {
        throw named(error, block: block, page: UInt64(page))
      }
      held += 1
    }
    try flush()
  }
}
