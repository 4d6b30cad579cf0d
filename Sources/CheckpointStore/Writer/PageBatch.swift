// Pages on their way from the caller to the threads that hash them.

/// Up to 64 pages (256 KiB), where each belongs, and the ticket that says so.
///
/// The caller fills it, then a worker has it; it is never with both.
final class PageBatch: @unchecked Sendable {
  static let pageLimit = 64

  let buffer = PageBuffer(pageCount: pageLimit)
  /// The word of the session's references that each page is for.
  var words: [Int] = []
  /// Which batch of the save this is; a ticket names it.
  var sequence: UInt64 = 0

  var count: Int { words.count }
  var isFull: Bool { words.count == PageBatch.pageLimit }

  init() { words.reserveCapacity(PageBatch.pageLimit) }

  /// Adds a page; its ticket.
  func add(_ page: RawSpan, for word: Int) -> SessionWord {
    buffer.copy(page, at: count * storePageSize)
    let ticket = SessionWord.ticket(sequence: sequence, index: count)
    words.append(word)
    return ticket
  }

  /// The ticket of a page in it.
  func ticket(_ index: Int) -> SessionWord { .ticket(sequence: sequence, index: index) }
}

/// What a session's reference file says of a page: one 64-bit word.
///
/// 0 is a zero page; bit 63 a page of this session, by its number; bit 62 a page on its way, by its
/// batch and place; everything else a `PageReference` of the store.
struct SessionWord: Hashable, Sendable {
  let rawValue: UInt64

  enum Meaning: Hashable {
    case zero
    case stored(PageReference)
    case session(number: UInt64)
    case pending(sequence: UInt64, index: Int)
  }

  static let zero = SessionWord(rawValue: 0)
  private static let sessionBit: UInt64 = 1 << 63
  private static let pendingBit: UInt64 = 1 << 62

  init(rawValue: UInt64) { self.rawValue = rawValue }

  static func session(_ number: UInt64) -> SessionWord {
    SessionWord(rawValue: sessionBit | number)
  }

  static func stored(_ reference: PageReference) -> SessionWord {
    SessionWord(rawValue: reference.rawValue)
  }

  static func ticket(sequence: UInt64, index: Int) -> SessionWord {
    SessionWord(rawValue: pendingBit | sequence << 6 | UInt64(index))
  }

  var meaning: Meaning {
    if rawValue == 0 { return .zero }
    if rawValue & SessionWord.sessionBit != 0 {
      return .session(number: rawValue & ~SessionWord.sessionBit)
    }
    if rawValue & SessionWord.pendingBit != 0 {
      let place = rawValue & ~SessionWord.pendingBit
      return .pending(sequence: place >> 6, index: Int(place & 63))
    }
    return .stored(PageReference(rawValue: rawValue))
  }
}
