// Writes that go from this process's memory to the disk and leave the page cache alone.
//
// Memory that is saved is rarely read again soon, and far more of it comes than the kernel wants to
// keep: through the page cache each page is copied once more, into memory that the kernel has to
// find first and that it takes from what other programs use. Measured, that was two thirds of a
// save's processor time.

import Glibc

/// Collects bytes and writes them to one file in aligned pieces, on a thread of its own: what
/// appends goes on while the disk works.
///
/// One thread at a time appends and flushes; `holds` may be asked from any. Memory is bounded: an
/// append waits where the disk is behind by all pieces.
final class DirectWriter: @unchecked Sendable {
  /// Alignment of memory, offsets and lengths; enough for nearly every disk and file system.
  private static let alignment = storePageSize

  private let queue: PieceQueue
  private let thread: WorkerThreads
  // The appending thread's own.
  private var current: Piece?
  private var nextStart: UInt64

  /// A writer that goes on at `start`, a multiple of 4096; nil where the file system has no such
  /// writes, or no disk below it that they would be for.
  init?(path: String, from start: UInt64) {
    guard let file = try? File.openDirect(path) else { return nil }
    let queue = PieceQueue(file: file, start: start)
    guard let thread = try? WorkerThreads(count: 1, { _ in queue.work() }) else { return nil }
    self.queue = queue
    self.thread = thread
    nextStart = start
  }

  /// Ends the thread; what was not flushed is lost.
  deinit {
    queue.close()
    thread.join()
  }

  /// Takes bytes; throws what an earlier write has met.
  func append(_ content: RawSpan) throws(StoreError) {
    var taken = 0
    while taken < content.byteCount {
      let piece: Piece
      if let current { piece = current } else { piece = try queue.take(for: nextStart) }
      current = piece
      let part = min(content.byteCount - taken, piece.buffer.byteCount - piece.count)
      piece.buffer.copy(content.extracting(taken..<taken + part), at: piece.count)
      piece.count += part
      taken += part
      guard piece.count == piece.buffer.byteCount else { continue }
      nextStart += UInt64(piece.count)
      current = nil
      queue.submit(piece)
    }
  }

  /// Whether some of what was appended up to `end` may not be in the file yet.
  func holds(upTo end: UInt64) -> Bool { end > queue.unwrittenStart }

  /// Brings everything appended into the file, which ends on a block's boundary then; what does
  /// not fill a block stays here as well.
  func flush() throws(StoreError) {
    try queue.drain()
    guard let current, current.count > 0 else { return }
    let whole = (current.count + Self.alignment - 1) / Self.alignment * Self.alignment
    try queue.write(whole, of: current)
  }
}

/// Bytes on their way to the disk; whoever has taken one out of the queue owns it.
private final class Piece: @unchecked Sendable {
  /// A mebibyte: large enough for a disk's full rate.
  let buffer = PageBuffer(pageCount: 256)
  var count = 0
  /// Where in the file its bytes belong.
  var start: UInt64 = 0
}

/// The hand-over of pieces to the thread that writes them.
private final class PieceQueue: @unchecked Sendable {
  private static let pieceCount = 4

  private let file: File
  private let gate = Gate()
  // All below is touched with the gate locked.
  private var free = (0..<PieceQueue.pieceCount).map { _ in Piece() }
  private var full: [Piece] = []
  private var unwritten: UInt64
  private var isWriting = false
  private var isClosed = false
  private var failure: StoreError?

  init(file: File, start: UInt64) {
    self.file = file
    unwritten = start
  }

  /// Where the bytes begin that may not be in the file yet.
  var unwrittenStart: UInt64 { gate.locked { unwritten } }

  /// A free piece for what belongs at `start`, waiting for one; throws what a write has met.
  func take(for start: UInt64) throws(StoreError) -> Piece {
    let taken = gate.wait { () -> Result<Piece, StoreError>? in
      if let failure { return .failure(failure) }
      return free.popLast().map { .success($0) }
    }
    let piece = try taken.get()
    piece.count = 0
    piece.start = start
    return piece
  }

  /// Hands a piece to the thread.
  func submit(_ piece: Piece) {
    gate.locked { full.append(piece) }
    gate.signal()
  }

  /// Waits until every piece is written; throws what a write has met.
  func drain() throws(StoreError) {
    let failure = gate.wait { () -> StoreError?? in
      full.isEmpty && !isWriting ? .some(self.failure) : nil
    }
    if let failure { throw failure }
  }

  /// Lets the thread end, whatever is queued.
  func close() {
    gate.locked { isClosed = true }
    gate.signal()
  }

  /// The thread's whole life.
  func work() {
    while let piece = next() {
      var failure: StoreError?
      do throws(StoreError) { try write(piece.count, of: piece) } catch { failure = error }
      gate.locked {
        isWriting = false
        free.append(piece)
        if self.failure == nil { self.failure = failure }
        if self.failure == nil { unwritten = piece.start + UInt64(piece.count) }
      }
      gate.signal()
    }
  }

  private func next() -> Piece? {
    gate.wait { () -> Piece?? in
      if isClosed { return .some(nil) }
      if full.isEmpty { return nil }
      isWriting = true
      return .some(full.removeFirst())
    }
  }

  /// Writes the front of a piece.
  func write(_ count: Int, of piece: Piece) throws(StoreError) {
    try piece.buffer.withBytes(0..<count) { (bytes) throws(StoreError) in
      do throws(StoreError) {
        try file.write(bytes, at: piece.start)
      } catch {
        // A disk with larger blocks takes no such write: the page cache does.
        guard case .system(_, _, EINVAL) = error else { throw error }
        try File.open(file.path, O_WRONLY).write(bytes, at: piece.start)
      }
    }
  }
}
