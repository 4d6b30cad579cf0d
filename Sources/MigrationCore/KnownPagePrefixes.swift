// What a destination announced to hold, as its source keeps it: a set of 40-bit prefixes of hashes
// that a peer chose, maybe with ill intent, and that is asked once for every page.

internal import Wire

/// A set of prefixes of page hashes, bounded, with open addressing.
///
/// It takes 5 to 8 bytes for each prefix, and a lookup touches one place in memory as a rule. What
/// a peer sends cannot make lookups slow: where a prefix lies depends on a secret number.
public struct KnownPagePrefixes: Sendable {
  /// A part of the set: 32 bits of each member, which decide where it lies.
  ///
  /// It grows alone, so that no insertion moves all of the set.
  struct Shard: Sendable {
    private(set) var slots: [UInt32] = []
    private var count = 0
    /// Whether 0 is a member: in a slot it means that nothing is there.
    private var hasZero = false

    private static let firstCapacity = 16

    private static func home(_ value: UInt32, _ capacity: Int) -> Int {
      Int((UInt64(value) * UInt64(capacity)) >> 32)
    }

    func contains(_ value: UInt32) -> Bool {
      guard value != 0 else { return hasZero }
      guard !slots.isEmpty else { return false }
      var slot = Self.home(value, slots.count)
      while slots[slot] != 0 {
        if slots[slot] == value { return true }
        slot += 1
        if slot == slots.count { slot = 0 }
      }
      return false
    }

    mutating func insert(_ value: UInt32) -> Bool {
      guard value != 0 else {
        defer { hasZero = true }
        return !hasZero
      }
      if (count + 1) * 5 > slots.count * 4 { grow() }
      return put(value)
    }

    private mutating func put(_ value: UInt32) -> Bool {
      var slot = Self.home(value, slots.count)
      while slots[slot] != 0 {
        if slots[slot] == value { return false }
        slot += 1
        if slot == slots.count { slot = 0 }
      }
      slots[slot] = value
      count += 1
      return true
    }

    private mutating func grow() {
      let old = slots
      slots = [UInt32](
        repeating: 0, count: max(Self.firstCapacity, old.count + old.count / 2))
      count = 0
      for value in old where value != 0 { _ = put(value) }
    }
  }

  /// How many prefixes it may hold.
  public let limit: Int
  /// How many it holds.
  public private(set) var count = 0

  private(set) var shards = [Shard](repeating: Shard(), count: 256)
  private let factors: (UInt64, UInt64)
  private let offset: UInt64

  /// An empty set.
  ///
  /// - Parameters:
  ///   - limit: what it takes at most; further prefixes are left out.
  ///   - seed: a number that the peer cannot know.
  public init(limit: Int, seed: UInt64) {
    self.limit = limit
    // Odd factors: multiplication by them is one to one.
    factors = (seed | 1, (seed >> 24 ^ seed << 17 ^ 0x9e_3779_b97f) | 1)
    offset = seed >> 13
  }

  /// Adds a prefix (its low 40 bits count); says whether it was new and there was room.
  @discardableResult
  public mutating func insert(_ prefix: UInt64) -> Bool {
    guard count < limit else { return false }
    let mixed = mix(prefix)
    guard shards[Int(mixed >> 32)].insert(UInt32(truncatingIfNeeded: mixed)) else { return false }
    count += 1
    return true
  }

  /// Whether a prefix (its low 40 bits) was added.
  public func contains(_ prefix: UInt64) -> Bool {
    let mixed = mix(prefix)
    return shards[Int(mixed >> 32)].contains(UInt32(truncatingIfNeeded: mixed))
  }

  /// The bytes that its slots take.
  public var byteCount: Int { shards.reduce(0) { $0 + $1.slots.count * 4 } }

  /// Another number of 40 bits for each number of 40 bits.
  private func mix(_ prefix: UInt64) -> UInt64 {
    let mask = ReturnPathMessage.prefixMask
    var value = (prefix ^ offset) & mask
    value = value &* factors.0 & mask
    value ^= value >> 20
    value = value &* factors.1 & mask
    value ^= value >> 21
    return value
  }
}
