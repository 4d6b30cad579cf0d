// The caller's side of a save: pages into batches, batches to the workers.

/// A save's session, its workers and the batch that is being filled.
///
/// One thread at a time calls it.
final class Ingest {
  let session: WriterSession
  private let storeSource: PageSource
  private let queue: IngestQueue
  private let workers: [IngestWorker]
  private let threads: WorkerThreads
  private var current: PageBatch?
  private var nextSequence: UInt64 = 1

  init(store: Store, options: WriterOptions, wordCount: Int) throws(StoreError) {
    let threadCount = min(max(options.threads ?? defaultThreadCount(), 1), 64)
    let folder = store.layout.session(newIdentity())
    let cacheShare = (options.cachedByteCount ?? defaultCachedByteCount()) / threadCount
    let queue = IngestQueue(batchCount: threadCount * 3 + 1)
    do throws(StoreError) {
      let session = try WriterSession(folder: folder, packs: store.packs, wordCount: wordCount)
      var workers: [IngestWorker] = []
      for _ in 0..<threadCount {
        workers.append(
          try IngestWorker(
            session: session, index: store.index,
            packs: PackWriter(store.packs, cacheShare: cacheShare),
            compression: options.compression))
      }
      let crew = workers
      threads = try WorkerThreads(count: threadCount) { index in
        Ingest.work(crew[index], queue)
      }
      self.session = session
      storeSource = store.source
      self.workers = workers
      self.queue = queue
    } catch {
      // Threads that did start end.
      queue.close()
      try? Folder.remove(folder)
      throw error
    }
  }

  /// What a thread does until the queue closes.
  private static func work(_ worker: IngestWorker, _ queue: IngestQueue) {
    while let batch = queue.next() {
      var failure: StoreError?
      if !queue.hasFailed {
        do throws(StoreError) { try worker.process(batch) } catch { failure = error }
      }
      queue.finish(batch, failure)
    }
  }

  /// Takes pages: zero ones are only noted, the others go to the workers.
  func put(_ content: RawSpan, at firstWord: Int) throws(StoreError) {
    session.words.noteAccess()
    var offset = 0
    var word = firstWord
    while offset < content.byteCount {
      if isZeroPage(content, at: offset) {
        if session.words[word] != 0 { session.words[word] = 0 }
      } else {
        let batch = current ?? acquire()
        let ticket = batch.add(content.extracting(offset..<offset + storePageSize), for: word)
        session.words[word] = ticket.rawValue
        if batch.isFull { try submit(batch) }
      }
      offset += storePageSize
      word += 1
    }
  }

  /// Notes pages as zero.
  func putZero(at firstWord: Int, pageCount: Int) {
    session.words.noteAccess()
    for word in firstWord..<firstWord + pageCount where session.words[word] != 0 {
      session.words[word] = 0
    }
  }

  private func acquire() -> PageBatch {
    let batch = queue.acquire()
    batch.sequence = nextSequence
    nextSequence += 1
    current = batch
    return batch
  }

  private func submit(_ batch: PageBatch) throws(StoreError) {
    current = nil
    try queue.submit(batch)
  }

  /// Reads what was put last at a word.
  func read(_ word: Int, into page: inout MutableRawSpan) throws(StoreError) {
    session.words.noteAccess()
    let value = SessionWord(rawValue: session.words[word])
    switch value.meaning {
    case .zero:
      zeroBytes(&page)
    case .stored(let reference):
      try storeSource.read(reference, into: &page)
    case .pending(let sequence, let index):
      // Only this thread hands batches out again, so the content is still where it was put.
      guard let batch = queue.batches.first(where: { $0.sequence == sequence }) else {
        zeroBytes(&page)
        throw .invalidRequest("a page on its way to the store was lost: this is a bug of Godwit.")
      }
      let start = index * storePageSize
      batch.buffer.withBytes(start..<start + storePageSize) { copyBytes($0, into: &page) }
    case .session(let number):
      try readOwn(number, into: &page)
    }
  }

  /// Reads a page that this save has stored, or is about to: then it waits for that.
  private func readOwn(_ number: UInt64, into page: inout MutableRawSpan) throws(StoreError) {
    var entry = try session.entries.entry(number)
    if entry.location.length == 0 {
      try queue.drain()
      entry = try session.entries.entry(number)
    }
    if let writer = workers.first(where: { $0.packs.holds(entry.location) })?.packs {
      // With no batch under way no worker touches its pack.
      try queue.drain()
      try writer.flush()
    }
    if let damage = try session.source.read(entry, number: number, into: &page) {
      zeroBytes(&page)
      throw .damaged(damage)
    }
  }

  /// Waits for the workers, ends them, and makes what they wrote durable.
  func finish() throws(StoreError) {
    if let batch = current { try submit(batch) }
    try queue.drain()
    queue.close()
    threads.join()
    for worker in workers { try worker.packs.sync() }
  }

  /// Ends the workers and removes what they wrote.
  func discard() {
    queue.close()
    threads.join()
    for worker in workers { worker.packs.removeAll() }
    try? session.remove()
  }
}
