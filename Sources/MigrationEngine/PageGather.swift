// Pages on their way from guest memory to the kernel without a copy in between: what stands before
// each page is encoded into one buffer, and both are written together.

internal import Transport
internal import Wire

/// A batch of page records whose content stays where it is until it is written.
@safe
struct PageGather: ~Copyable {
  /// Takes what stands between the pages.
  var encoder: StreamEncoder
  /// Bytes that the batch has on the wire so far.
  var byteCount: Int { encoder.buffer.count + contentByteCount }

  private var contents: [UnsafeRawBufferPointer] = unsafe []
  /// Where in the encoder's buffer each content is inserted.
  private var places: [Int] = []
  private var contentByteCount = 0

  init(_ encoder: StreamEncoder) {
    self.encoder = encoder
  }

  /// Adds a page whose content is read when the batch is written.
  mutating func append(
    _ page: RAMPageAddress, _ content: UnsafeRawBufferPointer
  ) throws(WireError) {
    try encoder.appendPageHeader(page)
    places.append(encoder.buffer.count)
    // SAFETY: the pointer is kept for `write(to:)` only; whoever lends a page says that it stays
    // valid as long as the endpoint does, which outlives the run that this batch belongs to.
    unsafe contents.append(content)
    contentByteCount += content.count
  }

  /// Writes the batch and empties it; how many bytes that were.
  mutating func write(to channel: ByteChannel) throws(TransportError) -> Int {
    let count = byteCount
    let outcome = unsafe encoder.buffer.withUnsafeBytes { header in
      // SAFETY: places are ascending positions in the buffer, and all pointers outlive the call.
      var pieces = unsafe [UnsafeRawBufferPointer]()
      unsafe pieces.reserveCapacity(2 * contents.count + 1)
      var start = 0
      for index in places.indices {
        let end = places[index]
        unsafe pieces.append(UnsafeRawBufferPointer(rebasing: header[start..<end]))
        unsafe pieces.append(contents[index])
        start = end
      }
      unsafe pieces.append(UnsafeRawBufferPointer(rebasing: header[start...]))
      do throws(TransportError) {
        return Result<Void, TransportError>.success(try unsafe channel.write(gathering: pieces))
      } catch {
        return .failure(error)
      }
    }
    encoder.buffer.removeAll(keepingCapacity: true)
    unsafe contents.removeAll(keepingCapacity: true)
    places.removeAll(keepingCapacity: true)
    contentByteCount = 0
    try outcome.get()
    return count
  }
}
