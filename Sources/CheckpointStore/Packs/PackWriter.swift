// Appending to packs: one writer a thread, large writes, begun on their way to the disk early.

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
  private var end: UInt64 = 0
  private var startedWriteback: UInt64 = 0
  private var reserved: UInt64 = 0
  /// The numbers of the packs this writer began.
  ///
  /// A full one is synced and closed at once: a save of any size keeps one open.
  private var begun: [UInt32] = []
  private var isFolderSynced = true

  init(_ packs: PackFiles) { self.packs = packs }

  /// Appends bytes to one pack.
  ///
  /// - Returns: the pack's number and where in it the bytes begin.
  func append(_ content: RawSpan) throws(StoreError) -> (pack: UInt32, offset: UInt64) {
    if file == nil || end + UInt64(content.byteCount) > PackFiles.byteLimit {
      try endPack()
      let made = try packs.create()
      number = made.number
      file = made.file
      end = PackFiles.headerSize
      startedWriteback = 0
      reserved = 0
      begun.append(made.number)
      isFolderSynced = false
    }
    guard let file else { return (0, 0) }
    let offset = end
    if offset + UInt64(content.byteCount) > reserved { reserve(file) }
    try file.write(content, at: offset)
    end += UInt64(content.byteCount)
    if end - startedWriteback >= PackWriter.writebackStep {
      file.startWriteback(startedWriteback..<end)
      startedWriteback = end
    }
    return (number, offset)
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
    for number in begun {
      packs.forget(number)
      try? Folder.removeFile(packs.path(number))
    }
    begun = []
  }
}
