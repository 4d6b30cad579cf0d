// Whether hashing pays: a hash takes as long as it takes to send the page over a fast link, so what
// the other side hardly holds anything of is looked at here and there only.

/// Decides which pages are worth a hash, from how many of those before them were known.
struct HashSampling: Sendable {
  /// Pages after which the share of known ones is looked at.
  private static let window = 64
  /// Known pages in a window, below which not every page is hashed any more.
  private static let leastKnown = 4
  /// Of so many pages one is hashed then.
  private static let stride = 16

  private var isSparse = false
  private var looked = 0
  private var known = 0
  private var passed = 0

  /// Whether the next page is to be hashed.
  mutating func wantsNext() -> Bool {
    guard isSparse else { return true }
    passed += 1
    guard passed >= Self.stride else { return false }
    passed = 0
    return true
  }

  /// Takes note of whether a page that was hashed is known.
  mutating func note(isKnown: Bool) {
    if isSparse {
      // Known pages lie together as a rule: the next ones are worth a look each.
      if isKnown {
        isSparse = false
        looked = 0
        known = 0
      }
      return
    }
    looked += 1
    known += isKnown ? 1 : 0
    guard looked == Self.window else { return }
    isSparse = known < Self.leastKnown
    looked = 0
    known = 0
  }
}
