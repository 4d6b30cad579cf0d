// Writes that go from this process's memory to the disk and leave the page cache alone.
//
// Memory that is saved is rarely read again soon, and far more of it comes than the kernel wants to
// keep: through the page cache each page is copied once more, into memory that the kernel has to
// find first and that it takes from what other programs use. Measured, that was two thirds of a
// save's processor time.

import Glibc
import Synchronization

/// Collects bytes and writes them to one file in aligned pieces of a mebibyte.
///
/// One thread at a time uses it; `holds` may be asked from any.
final class DirectWriter: Sendable {
  /// Alignment of memory, offsets and lengths; enough for every disk and file system.
  private static let alignment = storePageSize
  private static let stagePageCount = 256

  private let file: File
  private let state: Mutex<State>

  private struct State {
    let stage = PageBuffer(pageCount: DirectWriter.stagePageCount)
    var count = 0
    /// Where in the file the staged bytes belong.
    var start: UInt64
  }

  /// A writer that goes on at `start`, a multiple of 4096; nil where the file system has no such
  /// writes, or no disk below it that they would be for.
  init?(path: String, from start: UInt64) {
    guard let file = try? File.openDirect(path) else { return nil }
    self.file = file
    state = Mutex(State(start: start))
  }

  /// Takes bytes, and writes what makes a whole piece.
  func append(_ content: RawSpan) throws(StoreError) {
    try state.withLock { (state) throws(StoreError) in
      var taken = 0
      while taken < content.byteCount {
        let part = min(content.byteCount - taken, state.stage.byteCount - state.count)
        state.stage.copy(content.extracting(taken..<taken + part), at: state.count)
        state.count += part
        taken += part
        guard state.count == state.stage.byteCount else { continue }
        try write(state.count, of: state)
        state.start += UInt64(state.count)
        state.count = 0
      }
    }
  }

  /// Whether a range of the file that ends at `end` is staged here still, whole or in part.
  func holds(upTo end: UInt64) -> Bool {
    state.withLock { $0.count > 0 && end > $0.start }
  }

  /// Writes what is staged; what does not fill a block stays staged as well.
  ///
  /// The file ends on a block's boundary then, behind what was appended.
  func flush() throws(StoreError) {
    try state.withLock { (state) throws(StoreError) in
      guard state.count > 0 else { return }
      let whole = (state.count + Self.alignment - 1) / Self.alignment * Self.alignment
      try write(whole, of: state)
    }
  }

  private func write(_ count: Int, of state: borrowing State) throws(StoreError) {
    try state.stage.withBytes(0..<count) { (bytes) throws(StoreError) in
      do throws(StoreError) {
        try file.write(bytes, at: state.start)
      } catch {
        // A disk with larger blocks takes no such write: the page cache does.
        guard case .system(_, _, EINVAL) = error else { throw error }
        try File.open(file.path, O_WRONLY).write(bytes, at: state.start)
      }
    }
  }
}
