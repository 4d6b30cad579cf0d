// A save in progress.

/// Takes a machine's memory and state, and lists it as a checkpoint once it is whole.
///
/// One thread at a time calls its methods; hashing, compression and writing happen on its own
/// threads, with bounded memory. Until `seal` returns nothing is listed; a writer that is dropped,
/// abandoned or killed leaves nothing but what the next `collect` removes.
public final class CheckpointWriter {
  /// The name under which the checkpoint will be listed.
  public let name: String

  private enum Phase {
    case begun
    case prepared(Ingest)
    case ended(String)
  }

  private let store: Store
  private let options: WriterOptions
  private let startSerial: UInt64
  private var writersLock: FileLock?
  private var phase = Phase.begun
  private var blocks: [CheckpointBlock] = []
  /// The first word of each block in the session.
  private var firstWord: [Int] = []

  init(
    store: Store, name: String, options: WriterOptions, writersLock: FileLock, startSerial: UInt64
  ) {
    self.store = store
    self.name = name
    self.options = options
    self.writersLock = writersLock
    self.startSerial = startSerial
  }

  deinit { abandon() }

  /// Announces the RAM blocks; once, before any page.
  public func prepare(blocks: [CheckpointBlock]) throws(StoreError) {
    guard case .begun = phase else {
      throw .invalidRequest("the blocks of \"\(name)\" were announced already.")
    }
    try CheckpointWriter.validate(blocks)
    var next = 0
    for block in blocks {
      firstWord.append(next)
      next += Int(ManifestLayout.chunkCount(block)) * ManifestLayout.chunkWords
    }
    self.blocks = blocks
    phase = .prepared(try Ingest(store: store, options: options, wordCount: next))
  }

  private static func validate(_ blocks: [CheckpointBlock]) throws(StoreError) {
    guard blocks.count <= StoreLimits.blocks else {
      throw .invalidRequest(
        "the machine announces \(blocks.count) RAM blocks; a checkpoint holds up to "
          + "\(StoreLimits.blocks).")
    }
    var names: Set<String> = []
    var total: UInt64 = 0
    for block in blocks {
      guard block.name.utf8.count <= StoreLimits.blockNameBytes, names.insert(block.name).inserted
      else {
        throw .invalidRequest("the RAM block \(block.name) is announced twice or has a long name.")
      }
      guard block.byteCount % UInt64(storePageSize) == 0 else {
        throw .invalidRequest(
          "the RAM block \(block.name) is \(block.byteCount) bytes long, which is not a multiple "
            + "of \(storePageSize).")
      }
      let (sum, overflow) = total.addingReportingOverflow(block.byteCount)
      guard !overflow, sum <= StoreLimits.ramBytes else {
        throw .invalidRequest(
          "the machine announces more RAM than a checkpoint holds "
            + "(\(StoreLimits.ramBytes) bytes), at the block \(block.name): the stream is not one "
            + "of a real machine, or is damaged.")
      }
      total = sum
    }
  }

  /// Stores pages; the last put of a page is the one that counts.
  ///
  /// - Parameters:
  ///   - block: index into the prepared blocks.
  ///   - offset: byte offset in the block, a multiple of 4096.
  ///   - content: one or more pages: a multiple of 4096 bytes. Copied before the call returns.
  public func put(block: Int, offset: UInt64, content: RawSpan) throws(StoreError) {
    let ingest = try prepared()
    let word = try firstWord(block, offset, content.byteCount)
    try ingest.put(content, at: word)
  }

  /// Makes pages zero.
  public func putZero(block: Int, offset: UInt64, byteCount: Int) throws(StoreError) {
    let ingest = try prepared()
    ingest.putZero(
      at: try firstWord(block, offset, byteCount), pageCount: byteCount / storePageSize)
  }

  /// Reads back what was put last; pages never put are zero.
  ///
  /// - Parameters:
  ///   - block: index into the prepared blocks.
  ///   - offset: byte offset in the block, a multiple of 4096.
  ///   - destination: a multiple of 4096 bytes; all of it is filled.
  public func read(
    block: Int, offset: UInt64, into destination: inout MutableRawSpan
  ) throws(StoreError) {
    let ingest = try prepared()
    let word = try firstWord(block, offset, destination.byteCount)
    for page in 0..<destination.byteCount / storePageSize {
      let start = page * storePageSize
      var part = destination._mutatingExtracting(start..<start + storePageSize)
      try ingest.read(word + page, into: &part)
    }
  }

  /// Reads back into an array, as `read(block:offset:into:)` does into a span.
  public func read(block: Int, offset: UInt64, into destination: inout [UInt8]) throws(StoreError) {
    var span = destination.mutableSpan
    // SAFETY: every byte pattern is a valid UInt8.
    var bytes = unsafe span.mutableBytes
    try read(block: block, offset: offset, into: &bytes)
  }

  /// Writes everything down and lists the checkpoint: afterwards it survives power loss.
  ///
  /// If it throws, the save is over and nothing is listed.
  public func seal(_ state: CheckpointState) throws(StoreError) -> CheckpointSummary {
    let ingest = try prepared()
    do throws(StoreError) {
      try CheckpointWriter.validate(state)
      try ingest.finish()
    } catch {
      abandon()
      throw error
    }
    let publication = Publication(
      store: store, session: ingest.session, name: name, parent: options.parent, blocks: blocks,
      startSerial: startSerial)
    do throws(StoreError) {
      let summary = try store.withPublishLock { () throws(StoreError) in
        try publication.run(state)
      }
      try? ingest.session.remove()
      end("was sealed")
      return summary
    } catch {
      if publication.mayBeListed() {
        // A collect will tell what is needed and what is not.
        end("failed")
      } else {
        try? Folder.removeFile(store.layout.manifest(publication.id))
        abandon()
      }
      throw error
    }
  }

  private static func validate(_ state: CheckpointState) throws(StoreError) {
    let size =
      state.configuration.count + state.deviceState.count + (state.vmDescription?.count ?? 0)
      + state.metadata.count
    guard size <= StoreLimits.stateBytes else {
      throw .invalidRequest(
        "the machine's device state is \(size) bytes; a checkpoint holds up to "
          + "\(StoreLimits.stateBytes).")
    }
  }

  /// Gives the save up and frees what it took; does nothing after `seal`.
  public func abandon() {
    if case .prepared(let ingest) = phase { ingest.discard() }
    if case .ended = phase { return }
    end("was given up")
  }

  private func end(_ how: String) {
    phase = .ended(how)
    writersLock = nil
  }

  private func prepared() throws(StoreError) -> Ingest {
    switch phase {
    case .prepared(let ingest): return ingest
    case .begun: throw .invalidRequest("the blocks of \"\(name)\" have not been announced yet.")
    case .ended(let how): throw .invalidRequest("the save of \"\(name)\" \(how) already.")
    }
  }

  private func firstWord(_ block: Int, _ offset: UInt64, _ byteCount: Int) throws(StoreError) -> Int
  {
    guard blocks.indices.contains(block) else {
      throw .invalidRequest("there is no RAM block number \(block) in \"\(name)\".")
    }
    let size = blocks[block].byteCount
    guard offset % UInt64(storePageSize) == 0, byteCount >= 0, byteCount % storePageSize == 0,
      offset <= size, UInt64(byteCount) <= size - offset
    else {
      throw .invalidRequest(
        "\(byteCount) bytes at offset \(offset) are not whole pages of the RAM block "
          + "\(blocks[block].name), which is \(size) bytes long.")
    }
    return firstWord[block] + Int(offset / UInt64(storePageSize))
  }
}
