// The thread that tells a source which pages are held here, beside all else that goes on.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Transport
internal import Wire

/// One announcement, from the question to its end.
final class KnownPagesAnnouncement: Sendable {
  private let contents: [any KnownContent]
  private let limit: UInt64
  private let send: @Sendable ([UInt8]) throws -> Void
  private let isStopped = Atomic<Bool>(false)
  private let thread: Mutex<NamedThread?> = Mutex(nil)

  /// Begins to announce.
  ///
  /// - Parameters:
  ///   - contents: what is held.
  ///   - limit: the most pages that the source takes.
  ///   - send: writes whole messages to the source, between those of others.
  init(
    _ contents: [any KnownContent], limit: UInt64,
    send: @escaping @Sendable ([UInt8]) throws -> Void
  ) throws(TransportError) {
    self.contents = contents
    self.limit = limit
    self.send = send
    let started = try NamedThread(name: "godwit-announce") { [self] in announce() }
    thread.withLock { $0 = started }
  }

  /// Ends it early, if it is not over; returns when nothing more will be sent.
  func stop() {
    isStopped.store(true, ordering: .relaxed)
    thread.withLock { $0.take() }?.join()
  }

  private func announce() {
    var waiting: [UInt64] = []
    var count: UInt64 = 0
    do {
      for content in contents {
        do {
          try content.announce { prefixes in
            let room = Int(clamping: limit - count - UInt64(waiting.count))
            waiting += prefixes.prefix(room)
            while waiting.count >= ReturnPathMessage.prefixLimit {
              count += try send(&waiting)
            }
            return !isStopped.load(ordering: .relaxed) && count + UInt64(waiting.count) < limit
          }
        } catch let error as TransportError {
          throw error
        } catch {
          // What cannot be read is not announced; the pages come with their content.
          continue
        }
      }
      while !waiting.isEmpty { count += try send(&waiting) }
      guard !isStopped.load(ordering: .relaxed) else { return }
      try send(Self.encoded(.knownPagesEnd(count: count)))
    } catch {
      // The link is gone, which the receiving thread sees for itself.
    }
  }

  /// Sends one message of what waits; how many pages it had.
  private func send(_ waiting: inout [UInt64]) throws -> UInt64 {
    let part = Array(waiting.prefix(ReturnPathMessage.prefixLimit))
    waiting.removeFirst(part.count)
    if isStopped.load(ordering: .relaxed) { return 0 }
    try send(Self.encoded(.knownPages(prefixes: part)))
    return UInt64(part.count)
  }

  private static func encoded(_ message: ReturnPathMessage) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try message.encode(into: &bytes)
    return bytes
  }
}
