// Pages behind recent requests. A guest that walks through memory asks for page after page; each
// answered request widens the window in front of it, so that soon it finds the pages already there.

internal import Wire

/// The windows in front of the guest's recent requests.
struct Readahead: Sendable {
  private enum Limits {
    /// Walks through memory that are followed at one time.
    static let streams = 16
    /// The first window in front of a request, in bytes.
    static let initialBytes = 32 << 10
    /// The widest window, in bytes.
    static let maximumBytes = 1 << 20
  }

  /// One walk of the guest through one block; page numbers are host pages.
  private struct Stream: Sendable {
    let blockIndex: Int
    var start: Int
    /// The next page to offer.
    var next: Int
    /// The end of what was offered or is to be.
    var end: Int
    var window: Int
  }

  /// Recently used streams last.
  private var streams: [Stream] = []

  /// Follows the guest to `page` of a block.
  mutating func noteRequest(blockIndex: Int, page: Int, block: ScheduledBlock) {
    let widest = max(1, Limits.maximumBytes / block.pageSize)
    var stream: Stream
    if let known = streams.lastIndex(where: {
      $0.blockIndex == blockIndex && page > $0.start && page <= $0.end + $0.window
    }) {
      stream = streams.remove(at: known)
      stream.window = min(widest, max(1, stream.window * 2))
      stream.start = page
      stream.next = max(stream.next, page + 1)
      stream.end = max(stream.end, page + 1 + stream.window)
    } else {
      let first = Limits.initialBytes / block.pageSize
      stream = Stream(
        blockIndex: blockIndex, start: page, next: page + 1, end: page + 1 + first, window: first)
      if streams.count == Limits.streams { streams.removeFirst() }
    }
    stream.end = min(stream.end, block.pageCount)
    streams.append(stream)
  }

  /// The next page in front of the guest that was not sent, most recent walk first.
  mutating func next(sent: [PageBitmap]) -> (blockIndex: Int, page: Int)? {
    for index in streams.indices.reversed() where streams[index].next < streams[index].end {
      let blockIndex = streams[index].blockIndex
      let window = streams[index].next..<streams[index].end
      if let page = sent[blockIndex].firstNonMember(in: window) {
        streams[index].next = page + 1
        return (blockIndex, page)
      }
      streams[index].next = streams[index].end
    }
    return nil
  }
}
