// What pages are read from when they are hashed, and when they are wanted.

/// Pages of 4096 bytes with numbers from 0; any thread may read at any time.
///
/// They may change meanwhile: what has changed has another hash.
public protocol NumberedPages: AnyObject, Sendable {
  /// How many there are, fewer than 2³².
  var pageCount: Int { get }

  /// Reads pages that follow one another by number.
  ///
  /// - Parameters:
  ///   - page: the first one's number.
  ///   - room: takes them, as many as there are and as fit.
  /// - Returns: how many could be read.
  func read(from page: Int, into room: inout MutableRawSpan) -> Int
}
