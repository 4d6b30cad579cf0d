// Writing a manifest: references as they come, chunk by chunk, then what describes them.

import Glibc
import PageHash

/// Writes one manifest, in order, and makes it durable.
final class ManifestWriter {
  private static let bufferedChunks = 256

  private let file: File
  private let layout: ManifestLayout
  private let description: [UInt8]
  private let digester: Digester
  private var pending: [UInt8] = []
  private var pendingStart: UInt64 = 0
  private var digests: [UInt8] = []
  private var nextChunk: UInt64 = 0

  init(_ path: String, description: ManifestDescription, id: [UInt8]) throws(StoreError) {
    let digester = try Digester.make()
    let bytes = description.encode()
    let layout = ManifestLayout(
      id: id,
      chunkCount: description.info.blocks.reduce(0) { $0 + ManifestLayout.chunkCount($1) },
      descriptionSize: UInt64(bytes.count), descriptionDigest: digester.hash(bytes))
    file = try File.open(path, O_RDWR | O_CREAT | O_TRUNC, doing: "making the manifest")
    try file.allocate(byteCount: layout.byteCount)
    self.digester = digester
    self.description = bytes
    self.layout = layout
  }

  /// Adds the next chunk: 512 references, those past a block's end zero.
  func append(_ words: [UInt64]) throws(StoreError) {
    var content: [UInt8] = []
    content.reserveCapacity(words.count * 8)
    // SAFETY: words have no padding; the buffer is only read, inside the closure.
    unsafe words.withUnsafeBytes { unsafe content.append(contentsOf: $0) }
    digests += layout.chunkDigest(nextChunk, content, digester).bytes
    nextChunk += 1
    pending += content
    if pending.count >= ManifestWriter.bufferedChunks * 4096 { try flush() }
  }

  private func flush() throws(StoreError) {
    try file.write(pending, at: layout.referencesOffset + pendingStart)
    pendingStart += UInt64(pending.count)
    pending.removeAll(keepingCapacity: true)
  }

  /// Writes what is left and syncs.
  ///
  /// - Returns: SHA-256 of the header page, which the catalogue keeps.
  func finish() throws(StoreError) -> ContentHash {
    try flush()
    try file.write(digests, at: layout.digestsOffset)
    try file.write(description, at: layout.descriptionOffset)
    let header = layout.encode(digester)
    try file.write(header, at: 0)
    try file.sync()
    return digester.hash(header)
  }
}
