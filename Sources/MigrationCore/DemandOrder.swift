// What is remembered of the restores of one checkpoint: what the guests asked for, and in which
// order everything else reached the last of them.

public import Wire

/// A run of bytes of one RAM block.
public struct RAMPageRun: Hashable, Sendable {
  /// Where it begins.
  public var start: RAMPageAddress
  /// Its length in bytes.
  public var byteCount: UInt64

  /// A run of `byteCount` bytes at `start`.
  public init(start: RAMPageAddress, byteCount: UInt64) {
    self.start = start
    self.byteCount = byteCount
  }
}

/// A page that a guest asked for.
public struct DemandedPage: Hashable, Sendable {
  /// The page.
  public var address: RAMPageAddress
  /// How many host pages the guest had got unasked by then: when it asked, in the only measure of
  /// time that means the same on another day.
  public var broughtBefore: UInt64

  /// A page asked for when `broughtBefore` pages had come unasked.
  public init(_ address: RAMPageAddress, broughtBefore: UInt64) {
    self.address = address
    self.broughtBefore = broughtBefore
  }
}

/// The order in which a checkpoint's guests needed their pages, carried from one restore to the
/// next.
///
/// When a page that was asked for is needed is known. Of a page that came before it was needed
/// only one thing is known: it came early enough. So the next restore brings those in the order
/// in which they came, and between them, well ahead of their time, the ones that were asked for.
/// All of these at the very beginning would hold up the others: too late for some of them.
public struct DemandOrder: Equatable, Sendable {
  /// The bounds of what is remembered.
  public enum Limits {
    /// Pages that were asked for.
    public static let requests = 1 << 20
    /// Runs of pages that came unasked; beyond them the walk's own order has to do.
    public static let runs = 1 << 16
  }

  /// The pages that guests asked for, first request first, each once.
  public var requested: [DemandedPage]
  /// What else the last guest got, in the order of its coming; pages known to be zero left out.
  public var brought: [RAMPageRun]

  /// An order; without arguments, nothing is remembered.
  public init(requested: [DemandedPage] = [], brought: [RAMPageRun] = []) {
    self.requested = requested
    self.brought = brought
  }

  /// Whether nothing is remembered.
  public var isEmpty: Bool { requested.isEmpty && brought.isEmpty }

  /// What is to be remembered after a restore that knew this order: the known requests and among
  /// them what the guest asked for besides, each page once, and how everything else came.
  ///
  /// A guest that finds the known pages there gets further and asks for others; those are worth
  /// remembering as well.
  public func followed(by observed: DemandOrder) -> DemandOrder {
    var seen: Set<RAMPageAddress> = []
    var order = DemandOrder(brought: observed.brought.isEmpty ? brought : observed.brought)
    for page in requested + observed.requested
    where order.requested.count < Limits.requests && seen.insert(page.address).inserted {
      order.requested.append(page)
    }
    order.requested.sort { $0.broughtBefore < $1.broughtBefore }
    return order
  }
}
