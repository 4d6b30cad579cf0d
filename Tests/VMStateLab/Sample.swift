// Sample.swift: a state that has a field of every kind, and its description in two versions.

package import FuzzFrame
package import VMState

/// A state with a field of every kind.
package struct Sample: Equatable, Sendable {
  package enum Mode: UInt8, Sendable, CaseIterable {
    case idle, busy
    case broken = 9
  }

  /// A ring of a device.
  package struct Ring: Equatable, Sendable {
    package var address: UInt64 = 0
    package var size: UInt16 = 8
    package var head: UInt16 = 0
    /// What a subsection carries.
    package var event: UInt32?

    package init() {}
  }

  /// A pair with a later layout.
  package struct Pair: Equatable, Sendable {
    package var left: Int32 = 0
    package var right: UInt8 = 0

    package init() {}
  }

  package var control: UInt8 = 0
  package var divisor: UInt16 = 1
  package var mask: UInt32 = 0
  package var address: UInt64 = 0
  package var level: Int8 = 0
  package var shift: Int16 = 0
  package var delta: Int32 = 0
  package var clock: Int64 = 0
  package var isOn = false
  package var mode = Mode.idle
  package var alarm: UInt64?
  package var sectorSize: UInt32 = 512
  package var key = [UInt8](repeating: 0, count: 16)
  package var input: [UInt8] = []
  package var features: [UInt64] = [0, 0]
  package var registers = [UInt32](repeating: 0, count: 4)
  package var log: [Int16] = []
  package var pair = Pair()
  package var rings = [Ring](repeating: Ring(), count: 3)
  package var pending: [Ring] = []
  package var bonus: UInt16 = 0
  /// Since version 2.
  package var extra: UInt32 = 77
  /// What a subsection carries.
  package var history: [UInt8] = []
  /// What a subsection of the subsection carries.
  package var depth: UInt8 = 0

  package init() {}

  /// A state with values of any kind.
  package init(random: inout SplitMix) {
    control = .random(in: 0...(.max), using: &random)
    divisor = .random(in: 1...(.max), using: &random)
    mask = .random(in: 0...(.max), using: &random)
    address = .random(in: 0...(.max), using: &random)
    level = .random(in: .min...(.max), using: &random)
    shift = .random(in: .min...(.max), using: &random)
    delta = .random(in: .min...(.max), using: &random)
    clock = .random(in: .min...(.max), using: &random)
    isOn = random.oneIn(2)
    mode = Mode.allCases[random.below(3)]
    alarm = random.oneIn(3) ? nil : .random(in: 0..<(.max), using: &random)
    key = Self.bytes(16, &random)
    input = Self.bytes(random.below(65), &random)
    features = [random.next(), random.next() & 0x3f]
    registers = (0..<4).map { _ in .random(in: 0...(.max), using: &random) }
    log = (0..<random.below(11)).map { _ in .random(in: .min...(.max), using: &random) }
    pair.left = .random(in: .min...(.max), using: &random)
    pair.right = .random(in: 0...(.max), using: &random)
    rings = (0..<3).map { _ in Self.ring(&random) }
    pending = (0..<random.below(6)).map { _ in Self.ring(&random) }
    bonus = isOn ? .random(in: 0...(.max), using: &random) : 0
    extra = .random(in: 0...(.max), using: &random)
    history = random.oneIn(2) ? [] : Self.bytes(1 + random.below(32), &random)
    depth = history.isEmpty || random.oneIn(2) ? 0 : 1 + UInt8(random.below(9))
  }

  private static func bytes(_ count: Int, _ random: inout SplitMix) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  private static func ring(_ random: inout SplitMix) -> Ring {
    var ring = Ring()
    ring.address = random.next()
    ring.size = 1 << UInt16(random.below(8))
    ring.head = UInt16(random.below(Int(ring.size)))
    ring.event = random.oneIn(2) ? nil : UInt32(truncatingIfNeeded: random.next() | 1)
    return ring
  }
}

extension Sample {
  package static let ring = VMStateDescription<Ring>(
    name: "ring", version: 1,
    fields: [
      .uint64("address", \.address),
      .uint16("size", \.size),
      .uint16("head", \.head),
      .validate("a head within the ring") { $0.head < $0.size },
    ],
    subsections: [
      VMStateDescription(
        name: "ring/event", version: 1, needed: { $0.event != nil },
        fields: [.uint32("event", \.presentEvent)])
    ])

  package static let pair = VMStateDescription<Pair>(
    name: "pair", version: 2,
    fields: [.int32("left", \.left), .uint8("right", \.right).since(2)])

  /// What an earlier build knew.
  package static let firstDescription = VMStateDescription<Sample>(
    name: "sample", version: 1,
    fields: commonFields + [
      .structure("pair", \.pair, pair, version: 1),
      .unused(4),
    ])

  /// What this build knows: version 2 reads both.
  package static let description = VMStateDescription<Sample>(
    name: "sample", version: 2, minimumVersion: 1,
    fields: commonFields + [
      .structure("pair", \.pair, pair, version: 1).until(2),
      .structure("pair", \.pair, pair).since(2),
      .unused(4).until(2),
      .uint32("extra", \.extra).since(2),
      .array("rings", \.rings, of: ring, count: 3).since(2),
      .counted(
        "pending", \.pending, of: ring, blank: Ring(), count: "pending_count", as: UInt8.self,
        limit: 5
      ).since(2),
      .uint16("bonus", \.bonus).since(2).when { $0.isOn },
    ],
    subsections: [history])

  private static let history = VMStateDescription<Sample>(
    name: "sample/history", version: 3, minimumVersion: 2, needed: { !$0.history.isEmpty },
    fields: [.countedBuffer("history", \.history, count: "history_size", limit: 32)],
    subsections: [
      VMStateDescription(
        name: "sample/history/depth", version: 1, needed: { $0.depth > 0 },
        fields: [.uint8("depth", \.depth)])
    ])

  private static let commonFields: [VMStateField<Sample>] = [
    .uint8("control", \.control),
    .uint16("divisor", \.divisor),
    .validate("a divisor that is not zero") { $0.divisor != 0 },
    .uint32("mask", \.mask),
    .uint64("address", \.address),
    .int8("level", \.level),
    .int16("shift", \.shift),
    .int32("delta", \.delta),
    .int64("clock", \.clock),
    .bool("is_on", \.isOn),
    .choice("mode", \.mode),
    .timer("alarm", \.alarm),
    .equal("sector_size", \.sectorSize),
    .buffer("key", \.key, count: 16),
    .countedBuffer("input", \.input, count: "input_size", as: UInt16.self, limit: 64),
    .bitmap("features", \.features, bitCount: 70),
    .unused(3),
    .array("registers", \.registers, count: 4),
    .counted("log", \.log, count: "log_count", as: UInt8.self, limit: 10),
  ]
}

extension Sample.Ring {
  /// The event where the subsection has one.
  fileprivate var presentEvent: UInt32 {
    get { event ?? 0 }
    set { event = newValue }
  }
}
