// What is put into a guest's memory before its first instruction, and how that is entered.

import GuestMemory

/// What is put into a guest's memory before its first instruction, and how that is entered.
///
/// A plan is a pure value: it is made from images and a layout, and carried out by the machine.
struct BootPlan: Sendable {
  /// Bytes for one place.
  struct Piece: Sendable {
    /// What they are, for error sentences.
    let what: String
    let address: GuestAddress
    let bytes: ArraySlice<UInt8>
    /// How much memory they take; what lies behind them is zero in a machine just built, and is
    /// made so again by a reset.
    let memoryByteCount: UInt64

    init(_ what: String, at address: GuestAddress, _ bytes: ArraySlice<UInt8>, upTo: UInt64 = 0) {
      self.what = what
      self.address = address
      self.bytes = bytes
      memoryByteCount = max(UInt64(bytes.count), upTo)
    }

    init(_ what: String, at address: GuestAddress, _ bytes: [UInt8]) {
      self.init(what, at: address, bytes[...])
    }

    var range: Range<UInt64> {
      address.rawValue..<address.rawValue + max(memoryByteCount, 1)
    }
  }

  var pieces: [Piece] = []
  var start: ProcessorStart

  /// Checks that all pieces lie in memory and none covers another.
  ///
  /// - Throws: ``MachineError/bootRoom(needed:memory:reason:)`` naming the piece.
  func check(against layout: GuestLayout) throws(MachineError) {
    let memory = [0..<layout.lowByteCount, GuestLayout.highMemoryStart..<max(layout.top, 4 << 30)]
    for piece in pieces where !memory.contains(where: { $0.holds(piece.range) }) {
      throw .bootRoom(
        needed: piece.range.upperBound, memory: layout.memoryByteCount,
        reason: "\(piece.what) would lie at \(piece.range.inHexadecimal)")
    }
    let sorted = pieces.sorted { $0.address.rawValue < $1.address.rawValue }
    for (first, second) in zip(sorted, sorted.dropFirst())
    where first.range.upperBound > second.range.lowerBound {
      throw .bootRoom(
        needed: first.range.upperBound + UInt64(second.bytes.count),
        memory: layout.memoryByteCount,
        reason: "\(first.what) at \(first.range.inHexadecimal) would cover \(second.what)")
    }
  }
}

extension Range<UInt64> {
  /// Whether another range lies inside.
  func holds(_ other: Range<UInt64>) -> Bool {
    lowerBound <= other.lowerBound && other.upperBound <= upperBound
  }

  /// The range as addresses are written.
  var inHexadecimal: String {
    "0x\(String(lowerBound, radix: 16))..<0x\(String(upperBound, radix: 16))"
  }
}
