// The pieces that a source's stream is made of, apart from pages. The source machines say which
// comes when; an engine or a simulation encodes them.

/// One piece of a stream, not yet encoded.
public enum SourceElement: Sendable, Equatable {
  /// Magic number and version.
  case header
  /// The configuration section.
  case configuration
  /// COMMAND OPEN_RETURN_PATH.
  case openReturnPath
  /// COMMAND PING.
  case ping(UInt32)
  /// COMMAND POSTCOPY_ADVISE; sizes in bytes, the first the OR over all blocks.
  case advise(pageSizeSummary: UInt64, targetPageSize: UInt64)
  /// The START section of the RAM: the list of blocks.
  case ramSetup
  /// COMMAND POSTCOPY_RAM_DISCARD: byte ranges of one block, at most twelve.
  case discard(blockIndex: Int, ranges: [Range<UInt64>])
  /// COMMAND PACKAGED with LISTEN, the device state, PING 3 and RUN.
  case package
  /// COMMAND RECV_BITMAP for one block.
  case askReceivedBitmap(blockIndex: Int)
  /// COMMAND POSTCOPY_RESUME.
  case resume
  /// The END section of the RAM, without pages.
  case ramEnd
  /// The device state, which follows all pages of a precopy stream.
  case deviceState
  /// The element that ends a stream.
  case endOfStream
  /// The description of the device state.
  case description
}

/// What a source does next.
public enum SourceInstruction: Sendable, Equatable {
  /// Write these, in this order.
  case write([SourceElement])
  /// Send this host page, whole, in a PART of its own or with others.
  case page(ScheduledPage)
  /// Send the pages of these bytes of one block (precopy).
  case range(blockIndex: Int, Range<UInt64>)
  /// Nothing, until the peer says something or pages under way are written.
  case wait
  /// Nothing more, ever: see the machine's outcome.
  case finish
}

/// How a source's part ended.
public enum SourceOutcome: Sendable, Equatable {
  /// Everything was sent and, where there is a return path, the destination confirmed it.
  case completed
  /// All readable pages were sent; others are damaged and the destination waits for them. Close
  /// the link without ending the stream.
  case leftWaiting(damagedPageCount: Int)
  /// The destination said that it failed (SHUT with a value other than 0).
  case destinationFailed(code: UInt32)
}
