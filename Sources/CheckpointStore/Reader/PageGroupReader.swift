// Several pages of a checkpoint at once, wherever they lie.

import PageHash

/// Reads groups of a checkpoint's pages, each page verified; one thread at a time may use one.
///
/// A group costs a fraction of what its pages cost one by one: neighbours are read together and
/// hashed two by two.
public final class PageGroupReader {
  private let checkpoint: Checkpoint
  private let digester: Digester

  /// A reader of one checkpoint.
  public init(_ checkpoint: Checkpoint) throws(StoreError) {
    self.checkpoint = checkpoint
    digester = try Digester.make()
  }

  /// Reads pages, one behind the other.
  ///
  /// - Parameters:
  ///   - pages: index of each page's block, and its byte offset there, a multiple of 4096.
  ///   - destination: 4096 bytes for each page. The place of a zero page is left as it is.
  /// - Returns: for each page what it is; nil where it has to be read alone, by
  ///   `Checkpoint.read(block:offset:into:)`: that tells what is wrong with it, if anything is. Its
  ///   place holds nothing of use.
  public func read(
    _ pages: [(block: Int, offset: UInt64)], into destination: inout MutableRawSpan
  ) -> [PageKind?] {
    precondition(destination.byteCount == pages.count * storePageSize, "a place for each page")
    let kinds = pages.map { try? checkpoint.pageKind(block: $0.block, offset: $0.offset) }
    let references = kinds.map { kind -> PageReference? in
      if case .stored(let reference) = kind { reference } else { nil }
    }
    let isSound = checkpoint.store.source.readVerified(references, into: &destination, digester)
    return kinds.indices.map { references[$0] == nil || isSound[$0] ? kinds[$0] : nil }
  }
}
