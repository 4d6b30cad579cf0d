// VMStateField+Buffers.swift: fields of bytes and bits, of none, and of no bytes at all.

internal import Wire

extension VMStateField {
  /// Exactly `count` bytes as they are.
  public static func buffer(
    _ name: String, _ path: Path<[UInt8]>, count: Int
  ) -> Self {
    precondition(count >= 0, "a buffer of no negative size")
    return Self([name]) { (state, writer) throws(VMStateError) in
      let value = state[keyPath: path]
      guard value.count == count else {
        throw writer.place.error(
          .notEncodable, field: name, expected: "\(count) bytes", found: "\(value.count)")
      }
      writer.append(value)
      writer.describe(name, "buffer", since: writer.bytes.count - count)
    } load: { (state, reader) throws(VMStateError) in
      state[keyPath: path] = Array(try reader.next(count, name))
    }
  }

  /// Any number of bytes up to `limit`, with their number before them.
  ///
  /// - Parameters:
  ///   - count: the name of the number, a field of its own.
  ///   - type: the number's encoding.
  public static func countedBuffer<Count: VMStateScalar>(
    _ name: String, _ path: Path<[UInt8]>, count countName: String,
    as type: Count.Type = UInt32.self, limit: Int
  ) -> Self {
    let counter = VMStateCounter<Count>(name: countName, of: name, limit: limit)
    return Self([countName, name]) { (state, writer) throws(VMStateError) in
      let value = state[keyPath: path]
      try counter.write(value.count, &writer)
      writer.append(value)
      writer.describe(name, "buffer", since: writer.bytes.count - value.count)
    } load: { (state, reader) throws(VMStateError) in
      let count = try counter.read(&reader)
      state[keyPath: path] = Array(try reader.next(count, name))
    }
  }

  /// `bitCount` bits in words of 64, bit i in word i/64 at i%64; the last word's rest is zero.
  public static func bitmap(
    _ name: String, _ path: Path<[UInt64]>, bitCount: Int
  ) -> Self {
    precondition(bitCount > 0, "a bitmap of at least one bit")
    let wordCount = (bitCount + 63) / 64
    let surplus = bitCount % 64 == 0 ? 0 : ~UInt64(0) << UInt64(bitCount % 64)
    return Self([name]) { (state, writer) throws(VMStateError) in
      let words = state[keyPath: path]
      guard words.count == wordCount, words[wordCount - 1] & surplus == 0 else {
        throw writer.place.error(
          .notEncodable, field: name, expected: "\(bitCount) bits in \(wordCount) words",
          found: "\(words.count) words, or bits beyond the last")
      }
      for word in words { writer.append(word) }
      writer.describe(name, "bitmap", since: writer.bytes.count - wordCount * 8)
    } load: { (state, reader) throws(VMStateError) in
      let start = reader.offset
      var words: [UInt64] = []
      for _ in 0..<wordCount { words.append(try reader.next(UInt64.self, name)) }
      guard words[wordCount - 1] & surplus == 0 else {
        throw reader.error(
          .invalidValue, field: name, at: start, expected: "\(bitCount) bits",
          found: "bits beyond the last")
      }
      state[keyPath: path] = words
    }
  }

  /// Room that nothing uses any more: zero bytes, whatever they are on loading.
  public static func unused(_ count: Int) -> Self {
    precondition(count > 0, "at least one unused byte")
    return Self(["unused"]) { (_, writer) throws(VMStateError) in
      writer.append([UInt8](repeating: 0, count: count))
      writer.describe("unused", "unused_buffer", since: writer.bytes.count - count)
    } load: { (_, reader) throws(VMStateError) in
      _ = try reader.next(count, "unused")
    }
  }

  /// A rule for the fields before it; takes no room.
  ///
  /// - Parameter rule: what has to hold, as a person would say it ("a head within the queue").
  public static func validate(
    _ rule: String, _ holds: @escaping @Sendable (State) -> Bool
  ) -> Self {
    Self([]) { (state, writer) throws(VMStateError) in
      guard holds(state) else {
        throw writer.place.error(.invalidValue, expected: rule, found: "values that break it")
      }
    } load: { (state, reader) throws(VMStateError) in
      guard holds(state) else {
        throw reader.error(.invalidValue, expected: rule, found: "values that break it")
      }
    }
  }
}

/// The number of elements before a counted field, bounded before anything is made of it.
struct VMStateCounter<Count: VMStateScalar>: Sendable {
  let name: String
  private let owner: String
  private let limit: Int

  init(name: String, of owner: String, limit: Int) {
    precondition(limit >= 0 && Count(exactly: limit) != nil, "a limit that the count can say")
    self.name = name
    self.owner = owner
    self.limit = limit
  }

  func write(_ count: Int, _ writer: inout VMStateWriter) throws(VMStateError) {
    guard count <= limit else {
      throw writer.place.error(
        .limitExceeded, field: owner, expected: "at most \(limit) elements", found: "\(count)")
    }
    writer.append(Count(count))
    writer.describe(
      VMDescription.Field(name: name, type: Count.typeName, size: UInt64(Count.byteCount)))
  }

  func read(_ reader: inout VMStateReader) throws(VMStateError) -> Int {
    let start = reader.offset
    let raw = try reader.next(Count.self, name)
    guard let count = Int(exactly: raw), count >= 0, count <= limit else {
      throw reader.error(
        .limitExceeded, field: name, at: start, expected: "at most \(limit) elements",
        found: "\(raw)")
    }
    return count
  }
}
