// The thread that tells a source which pages are held here, beside all else that goes on and behind
// it: what a guest waits for is asked for past all that was not announced yet.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Transport
internal import Wire

/// One announcement, from the question to its end.
final class KnownPagesAnnouncement: Sendable {
  private let contents: [any KnownContent]
  private let limit: UInt64
  private let outbox: Outbox
  private let isSomebodyWaiting: @Sendable () -> Bool
  private let isStopped = Atomic<Bool>(false)
  private let thread: Mutex<NamedThread?> = Mutex(nil)

  /// The most prefixes in a message: what a request may have to wait for is 16 KiB.
  private static let prefixCount = 3200
  /// Bytes that may be unsent when a message follows them, once pages may be asked for.
  private static let unsentByteCount = 64 << 10

  /// Begins to announce.
  ///
  /// - Parameters:
  ///   - contents: what is held.
  ///   - limit: the most pages that the source takes.
  ///   - outbox: takes the messages.
  ///   - isSomebodyWaiting: whether somebody may come to wait for pages that are asked for over the
  ///     same link.
  init(
    _ contents: [any KnownContent], limit: UInt64, _ outbox: Outbox,
    isSomebodyWaiting: @escaping @Sendable () -> Bool
  ) throws(TransportError) {
    self.contents = contents
    self.limit = limit
    self.outbox = outbox
    self.isSomebodyWaiting = isSomebodyWaiting
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
            while waiting.count >= Self.prefixCount {
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
      try send(.knownPagesEnd(count: count))
    } catch {
      // The link is gone, which the receiving thread sees for itself.
    }
  }

  /// Sends one message of what waits; how many pages it had.
  private func send(_ waiting: inout [UInt64]) throws -> UInt64 {
    let part = Array(waiting.prefix(Self.prefixCount))
    waiting.removeFirst(part.count)
    return try send(.knownPages(prefixes: part)) ? UInt64(part.count) : 0
  }

  /// Sends a message once the link is calm, unless it is stopped before; whether it was sent.
  @discardableResult
  private func send(_ message: ReturnPathMessage) throws -> Bool {
    var bytes: [UInt8] = []
    try message.encode(into: &bytes)
    let isStopped = { [self] in self.isStopped.load(ordering: .relaxed) }
    try outbox.awaitCalm(
      unsentBelow: isSomebodyWaiting() ? Self.unsentByteCount : nil, unless: isStopped)
    guard !isStopped() else { return false }
    try outbox.send(bytes)
    return true
  }
}
