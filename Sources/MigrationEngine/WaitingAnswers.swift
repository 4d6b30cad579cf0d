// Pages that were asked for, encoded and on their way to the channel: whoever finds it free writes
// them, so that the thread which reads requests never waits for the one that writes.

internal import Synchronization

/// Sections with requested pages that are not written yet, in the order of the requests.
///
/// Any thread adds to them; they are written by one at a time, which sees to that itself.
final class WaitingAnswers: Sendable {
  /// One section.
  struct Answer {
    var bytes: [UInt8]
    /// How many of its bytes are written.
    var writtenCount = 0
    /// When the page was asked for, where that is known.
    var since: ContinuousClock.Instant?
  }

  /// Bytes beyond which no further page is encoded before some are written.
  private static let byteLimit = 64 << 10

  private let answers = Mutex<[Answer]>([])

  var isEmpty: Bool { answers.withLock { $0.isEmpty } }

  /// Whether another page may be encoded.
  var hasRoom: Bool { answers.withLock { $0.reduce(0) { $0 + $1.bytes.count } < Self.byteLimit } }

  /// The one that is to be written next.
  var first: Answer? { answers.withLock { $0.first } }

  func append(_ bytes: [UInt8], since: ContinuousClock.Instant?) {
    answers.withLock { $0.append(Answer(bytes: bytes, since: since)) }
  }

  /// More bytes of the first one are written; whether that was all of it, and it is gone.
  func wrote(_ byteCount: Int) -> Bool {
    answers.withLock { answers in
      answers[0].writtenCount += byteCount
      guard answers[0].writtenCount == answers[0].bytes.count else { return false }
      answers.removeFirst()
      return true
    }
  }
}
