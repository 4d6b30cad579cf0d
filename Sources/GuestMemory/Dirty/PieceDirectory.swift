// Which pieces there are: a table of fixed length, entries of which appear and never change.
//
// Growing stores one word, so readers are never stopped and never see a table that moves. The table
// takes 64 KiB of address space, and memory only where pieces are.

internal import CDirtyBitmap
internal import Glibc

/// The pieces of the dirty bitmaps, in order; grows while others read.
@safe
struct PieceDirectory: ~Copyable, @unchecked Sendable {
  /// How many pieces there can be: 64 TiB of RAM.
  static let capacity = RAMLayout.byteLimit / (DirtyPiece.pageCount * RAMRange.pageSize)

  private let table: UnsafeMutablePointer<UInt64>

  init() {
    unsafe table = UnsafeMutablePointer.allocate(capacity: Self.capacity)
    // SAFETY: just allocated with that capacity.
    unsafe table.initialize(repeating: 0, count: Self.capacity)
  }

  deinit {
    for index in 0..<Self.capacity { self[index]?.free() }
    unsafe table.deallocate()
  }

  /// A piece, or nil where none was made yet; any thread, at any time.
  @inline(__always)
  subscript(index: Int) -> DirtyPiece? {
    precondition(index >= 0 && index < Self.capacity, "a piece beyond the limit of RAM")
    // SAFETY: the index is inside the table; entries are words of pieces that are never freed.
    return unsafe DirtyPiece(bits: godwit_word_peek(table + index))
  }

  /// Publishes a piece where there is none; one thread at a time.
  func publish(_ piece: DirtyPiece, at index: Int) {
    precondition(self[index] == nil, "a piece is made once")
    // SAFETY: `self[index]` has checked the index.
    unsafe godwit_word_publish(table + index, piece.bits)
  }
}
