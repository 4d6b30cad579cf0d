// StreamDecoder.swift: takes the bytes of a stream as they come and tells a visitor what they say.

/// Reads QEMU's single-channel migration stream.
///
/// The decoder does no I/O: it is fed bytes, split anywhere, and calls a visitor for what they
/// say. However the same bytes are split, the visitor sees the same calls, and the same error
/// at the same offset if there is one. It holds at most one unfinished item, a device tail and
/// a packaged blob, each within `Options.limits`.
///
/// A stream's states, in order:
/// ```
/// header → configuration → element ─┬─ START/PART/END → payload → footer ─┐
///                             ▲     ├─ command (→ packaged blob) ─────────┤
///                             │     ├─ FULL before the RAM's end ─────────┤
///                             │     └─ FULL after it, or EOF → device tail → finished
///                             └───────────────────────────────────────────┘
/// ```
/// A decoder is a value: use it from one thread at a time.
public struct StreamDecoder: Sendable {
  /// What the decoder was told of its stream beforehand.
  public let options: Options
  /// How many bytes of the stream have been taken so far.
  public internal(set) var offset: UInt64 = 0

  /// Whether the stream is whole: nothing more belongs to it.
  public var isFinished: Bool { state == .finished }
  /// The RAM blocks, once they were announced.
  public var blocks: [RAMBlockDescription] { ram.blocks }
  /// The size of a target page in bytes, as far as it is known yet.
  public var targetPageSize: Int { ram.pageSize }
  /// Whether the source has gone over to postcopy.
  public internal(set) var isPostcopy = false
  /// The sender's number for the RAM section, once it has begun.
  public internal(set) var ramSectionID: UInt32?

  var state: State
  var ram: RAMPayload
  var sections: [UInt32: OpenSection] = [:]
  /// The section whose payload is being read.
  var currentID: UInt32 = 0
  /// Whether sections end in footers; `nil` until the first one did or did not.
  var usesFooters: Bool?
  var configuration: StreamConfiguration?
  var deviceTail = DeviceTail()
  var opaquePayload = OpaquePayload()
  var packageBlob: [UInt8] = []
  var packageRemaining = 0
  var scratchPage: [UInt8] = []
  /// Bytes that a search looked at and left for the next element.
  var pushback: [UInt8] = []

  private var carry: [UInt8] = []
  private var carryNeeded = 0
  private var failure: (any Error)?

  /// A decoder at the beginning of a stream, or of a recovered connection.
  public init(options: Options = Options()) {
    let pageSize = options.recovery?.targetPageSize ?? options.targetPageSize
    precondition(
      pageSize.nonzeroBitCount == 1 && (1024...65536).contains(pageSize),
      "a target page is a power of two from 1 KiB to 64 KiB")
    self.options = options
    ram = RAMPayload(pageSize: pageSize)
    state = .header
    guard let recovery = options.recovery else { return }
    state = .element
    isPostcopy = true
    usesFooters = recovery.usesFooters
    ramSectionID = recovery.ramSectionID
    ram.blocks = recovery.blocks
    ram.indexBlocks()
    sections[recovery.ramSectionID] = OpenSection(kind: .ram)
    guard options.carriesOnlyPages else { return }
    state = .ramItems
    currentID = recovery.ramSectionID
  }

  /// What a decoder of a recovered connection of the same migration has to be told, once the RAM
  /// blocks were announced.
  public var recovery: Recovery? {
    ramSectionID.map { id in
      Recovery(
        ramSectionID: id, blocks: ram.blocks, targetPageSize: ram.pageSize,
        usesFooters: usesFooters ?? true)
    }
  }

  /// Takes the next bytes of the stream and tells `visitor` what they say.
  ///
  /// Any number of bytes will do; 16 KiB to 1 MiB at a time is fast.
  /// - Throws: `WireError`, or what the visitor threw. The decoder then refuses all further
  ///   input with the same error.
  public mutating func feed<V: StreamVisitor>(_ bytes: RawSpan, to visitor: inout V) throws {
    if let failure { throw failure }
    do throws(Interruption) {
      try take(bytes, &visitor)
    } catch {
      let cause = underlying(error)
      failure = cause
      throw cause
    }
  }

  /// Says that the input has ended.
  /// - Throws: `WireError` of kind `truncated` unless the stream was whole, or what the visitor
  ///   threw.
  public mutating func finish<V: StreamVisitor>(to visitor: inout V) throws {
    if let failure { throw failure }
    // Between two pages the channel of requested ones ends where its source closes it.
    if options.carriesOnlyPages, carry.isEmpty { return }
    do throws(Interruption) {
      try end(&visitor)
    } catch {
      let cause = underlying(error)
      failure = cause
      throw cause
    }
  }

  private func underlying(_ interruption: Interruption) -> any Error {
    switch interruption {
    case .invalid(let error): error
    case .visitor(let error): error
    case .needs: truncation(found: "the end of the input")
    }
  }

  /// Runs items out of `bytes`; what is left of an unfinished one is carried to the next call.
  private mutating func take<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) {
    var position = 0
    while true {
      if carry.isEmpty {
        guard position < bytes.byteCount else { return }
        let rest = bytes.extracting(position..<bytes.byteCount)
        guard let used = try attempt(rest, &visitor) else {
          carry.append(span: rest)
          return
        }
        position += used
        swap(&carry, &pushback)
        carryNeeded = 0
      } else {
        if carry.count < carryNeeded {
          let count = min(carryNeeded - carry.count, bytes.byteCount - position)
          carry.append(span: bytes.extracting(position..<position + count))
          position += count
          if carry.count < carryNeeded { return }
        }
        try runCarry(&visitor)
      }
    }
  }

  /// Runs the items at the beginning of the carried bytes.
  private mutating func runCarry<V: StreamVisitor>(_ visitor: inout V) throws(Interruption) {
    var held: [UInt8] = []
    swap(&held, &carry)
    let position = try held.withSpan { span throws(Interruption) in
      var position = 0
      while position < span.byteCount, pushback.isEmpty {
        let rest = span.extracting(position..<span.byteCount)
        guard let used = try attempt(rest, &visitor) else { return position }
        position += used
        carryNeeded = 0
      }
      return position
    }
    if position == held.count {
      held.removeAll(keepingCapacity: held.capacity <= Self.carryKept)
    } else if position > 0 {
      held.removeFirst(position)
    }
    if !pushback.isEmpty {
      pushback.append(contentsOf: held)
      held = pushback
      pushback = []
    }
    carry = held
  }

  /// Runs one step on `bytes`.
  ///
  /// Says how many it took, or `nil` if the item is not whole: then `carryNeeded` says how many it
  /// needs.
  private mutating func attempt<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int? {
    do throws(Interruption) {
      let used = try step(bytes, &visitor)
      // What a search left behind is read again, and so does not count yet.
      offset = offset + UInt64(used) - UInt64(pushback.count)
      return used
    } catch .needs(let total) {
      carryNeeded = total
      return nil
    }
  }

  /// The room for unfinished items that is kept from one to the next, in bytes.
  private static let carryKept = 1 << 18
}
