// Guest memory as a stand-in for a processor touches it: word by word, unnoticed.

import GuestMemory

/// A RAM block's memory in words of 64 bits, read and written as a processor would: nobody is told.
///
/// Whoever wants to know what was written watches the host's page tables, or asks for marking.
@safe
final class SyntheticMemory: @unchecked Sendable {
  static let wordByteCount = 8
  static let pageByteCount = RAMRange.pageSize

  /// Keeps the memory mapped.
  private let block: RAMBlock
  private let words: UnsafeMutablePointer<UInt64>
  /// How many words there are.
  let wordCount: Int
  /// Whether written pages are marked dirty by the writer, for want of anyone else.
  let marksWrites: Bool

  init(_ block: RAMBlock, marksWrites: Bool) {
    self.block = block
    self.marksWrites = marksWrites
    wordCount = block.byteCount / Self.wordByteCount
    // SAFETY: the block is kept, and with it its mapping, which is aligned to pages; every access
    // is checked against the word count.
    unsafe words = block.withUnsafeMemory(offset: 0, byteCount: block.byteCount) { memory in
      unsafe UnsafeMutablePointer(bitPattern: UInt(bitPattern: memory.baseAddress))
        .unsafelyUnwrapped
    }
  }

  /// A word of the memory, by its number from the block's beginning.
  subscript(index: Int) -> UInt64 {
    get {
      precondition(index >= 0 && index < wordCount, "a word inside the memory")
      // SAFETY: the precondition; others may write meanwhile, as into any guest's memory.
      return unsafe words[index]
    }
    set {
      precondition(index >= 0 && index < wordCount, "a word inside the memory")
      // SAFETY: as above.
      unsafe words[index] = newValue
    }
  }

  /// Marks the page that begins at a word, where writers mark.
  func noteWritten(pageAt word: Int) {
    guard marksWrites else { return }
    block.dirty.mark(
      block.ramRange(offset: word * Self.wordByteCount, byteCount: Self.pageByteCount))
  }
}
