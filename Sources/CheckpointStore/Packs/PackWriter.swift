// Appending to packs: one writer a thread, large writes: at first into the page cache, which takes
// them faster than a disk does, then past it.

import Glibc
import Synchronization

/// Appends payloads to packs of its own, beginning a new one when one is full.
///
/// One thread at a time uses it. Nothing it writes counts until a page table names it.
final class PackWriter: @unchecked Sendable {
  private static let writebackStep: UInt64 = 8 << 20
  /// How far ahead blocks are taken at most: writes that do not extend a file cost the kernel less.
  private static let reserveStep: UInt64 = 64 << 20

  private let packs: PackFiles
  private var number: UInt32 = 0
  private var file: File?
  private var direct: DirectWriter?
  /// The same, for those who ask from other threads.
  private let staged = Mutex<(pack: UInt32, writer: DirectWriter)?>(nil)
  private var end: UInt64 = 0
  private var startedWriteback: UInt64 = 0
  private var reserved: UInt64 = 0
  /// What may still go through the page cache.
  private var cacheShare: Int
  private var isPastCache = false
  /// The numbers of the packs this writer began.
  ///
  /// A full one is synced and closed at once: a save of any size keeps one open.
  private var begun: [UInt32] = []
  private var isFolderSynced = true

  /// - Parameter cacheShare: how many bytes go through the page cache before all others pass it by.
  init(_ packs: PackFiles, cacheShare: Int = 0) {
    self.packs = packs
    self.cacheShare = cacheShare
  }

  /// Appends bytes to one pack.
  ///
  /// - Returns: the pack's number and where in it the bytes begin.
  func append(_ content: RawSpan) throws(StoreError) -> (pack: UInt32, offset: UInt64) {
    let file = try room(for: content.byteCount)
    let offset = end
    if let direct { try direct.append(content) } else { try file.write(content, at: offset) }
    advance(file, by: content.byteCount)
    return (number, offset)
  }

  /// Appends what lies in several places to one pack, one behind the other.
  ///
  /// - Returns: the pack's number and where in it the first begins.
  func append(_ pieces: [BufferPiece]) throws(StoreError) -> (pack: UInt32, offset: UInt64) {
    let count = pieces.reduce(0) { $0 + $1.range.count }
    let file = try room(for: count)
    let offset = end
    if let direct {
      for piece in pieces {
        try piece.buffer.withBytes(piece.range) { (bytes) throws(StoreError) in
          try direct.append(bytes)
        }
      }
    } else {
      try file.write(pieces, at: offset)
    }
    advance(file, by: count)
    return (number, offset)
  }

  /// The pack that takes the next `count` bytes, a new one if the last would grow too long.
  private func room(for count: Int) throws(StoreError) -> File {
    if file != nil { passCache(by: count) }
    if let file, end + UInt64(count) <= PackFiles.byteLimit {
      if end + UInt64(count) > reserved { reserve(file) }
      return file
    }
    try endPack()
    let made = try packs.create()
    number = made.number
    file = made.file
    end = PackFiles.headerSize
    startedWriteback = 0
    reserved = 0
    begun.append(made.number)
    isFolderSynced = false
    isPastCache = false
    reserve(made.file)
    passCache(by: count)
    return made.file
  }

  /// From where the page cache has had its share on, writes go past it, where that can be.
  private func passCache(by count: Int) {
    guard !isPastCache, cacheShare < count else { return }
    isPastCache = true
    // Such writes begin with a whole block; what is left of the last one stays a gap.
    let start = (end + UInt64(storePageSize) - 1) / UInt64(storePageSize) * UInt64(storePageSize)
    guard let writer = DirectWriter(path: packs.path(number), from: start) else { return }
    if let file, startedWriteback < end { file.startWriteback(startedWriteback..<end) }
    end = start
    direct = writer
    let pack = number
    staged.withLock { $0 = (pack, writer) }
  }

  /// Whether some of a page is in this process's memory still, and not in its pack.
  ///
  /// May be called from any thread.
  func holds(_ location: PageLocation) -> Bool {
    staged.withLock { staged in
      guard let staged, staged.pack == location.pack else { return false }
      return staged.writer.holds(upTo: location.end)
    }
  }

  /// Brings everything appended into its pack, where it can be read.
  func flush() throws(StoreError) { try direct?.flush() }

  /// Takes note of bytes written, and begins to write back what is enough for that.
  private func advance(_ file: File, by count: Int) {
    end += UInt64(count)
    guard direct == nil else { return }
    cacheShare -= min(count, cacheShare)
    if end - startedWriteback >= PackWriter.writebackStep {
      file.startWriteback(startedWriteback..<end)
      startedWriteback = end
    }
  }

  /// Appends an array's bytes.
  func append(_ bytes: [UInt8]) throws(StoreError) -> (pack: UInt32, offset: UInt64) {
    // SAFETY: the array outlives the call, and a UInt8 has no padding.
    let content = unsafe bytes.span.bytes
    return try append(content)
  }

  /// Takes blocks ahead, as many again as there are.
  ///
  /// Where that fails, nearly full disks for one, the write itself will tell.
  private func reserve(_ file: File) {
    let step = min(max(end, 1 << 20), PackWriter.reserveStep)
    let target = min(end + step, PackFiles.byteLimit)
    guard target > reserved else { return }
    try? file.allocate(max(reserved, end)..<target)
    reserved = target
  }

  /// Leaves the pack being written: gives back what was taken ahead, and syncs it.
  private func endPack() throws(StoreError) {
    guard let file else { return }
    try flush()
    direct = nil
    staged.withLock { $0 = nil }
    try file.truncate(to: end)
    try file.sync()
    self.file = nil
  }

  /// Makes everything appended survive power loss; the next append begins a new pack.
  func sync() throws(StoreError) {
    try endPack()
    if isFolderSynced { return }
    try Folder.sync(packs.folder)
    isFolderSynced = true
  }

  /// Removes every pack this writer began; nothing may refer to them.
  func removeAll() {
    file = nil
    direct = nil
    staged.withLock { $0 = nil }
    for number in begun {
      packs.forget(number)
      try? Folder.removeFile(packs.path(number))
    }
    begun = []
  }
}

/// How much of a save goes through the page cache unless it is told: well below the tenth of the
/// memory from which on Linux throttles those who write.
func defaultCachedByteCount() -> Int {
  max(sysconf(Int32(_SC_PHYS_PAGES)), 0) / 16 * max(sysconf(Int32(_SC_PAGESIZE)), 0)
}
