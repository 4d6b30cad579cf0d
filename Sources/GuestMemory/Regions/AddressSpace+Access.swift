// Reading and writing through the view in force.

extension AddressSpace {
  /// Copies memory into `target`; see `FlatView.read`.
  public func read(
    at address: GuestAddress, into target: inout MutableRawSpan
  ) throws(GuestMemoryError) {
    try view.read(at: address, into: &target)
  }

  /// Copies `source` into memory and marks it dirty; see `FlatView.write`.
  public func write(at address: GuestAddress, _ source: RawSpan) throws(GuestMemoryError) {
    try view.write(at: address, source)
  }

  /// Lends memory that lies in one piece, to be read; see `FlatView.withRAM`.
  public func withRAM<R>(
    at address: GuestAddress, byteCount: Int, _ body: (RawSpan) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    try view.withRAM(at: address, byteCount: byteCount, body)
  }

  /// Lends memory that lies in one piece, to be written; see `FlatView.withMutableRAM`.
  public func withMutableRAM<R>(
    at address: GuestAddress, byteCount: Int,
    _ body: (inout MutableRawSpan) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    try view.withMutableRAM(at: address, byteCount: byteCount, body)
  }

  /// The memory behind a range of addresses, in pieces; see `FlatView.pieces`.
  public func pieces(
    _ action: MemoryAction, at address: GuestAddress, byteCount: Int
  ) throws(GuestMemoryError) -> [MemoryPiece] {
    try view.pieces(action, at: address, byteCount: byteCount)
  }

  /// Reads as a processor does, memory or registers; see `FlatView.load`.
  public func load(at address: GuestAddress, byteCount: Int) -> UInt64 {
    view.load(at: address, byteCount: byteCount)
  }

  /// Writes as a processor does, memory or registers; see `FlatView.store`.
  public func store(at address: GuestAddress, byteCount: Int, value: UInt64) {
    view.store(at: address, byteCount: byteCount, value: value)
  }
}
