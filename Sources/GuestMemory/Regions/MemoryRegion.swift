// The tree from which the guest's view of memory is rendered.

internal import Synchronization

/// A node of the memory tree: RAM, ROM, registers, a window on another region, or a container.
///
/// Regions may overlap. Where they do, the higher priority is seen, and of equals the one added
/// last; where a container (or RAM with subregions) has nothing of its subregions, one sees its own
/// content, or what lies below it. A region has one place at most; aliases show it elsewhere.
///
/// Once its tree belongs to an address space, a region is changed inside `transaction` of that
/// space, and seen as it is when the transaction ends.
public final class MemoryRegion: Sendable {
  /// What a region holds.
  public enum Content: Sendable {
    /// Nothing but subregions.
    case container
    /// A part of a RAM block from `offset` bytes on.
    case ram(RAMBlock, offset: Int)
    /// Registers.
    case mmio(any MMIOHandler)
    /// A window on another region, from `offset` bytes on.
    case alias(MemoryRegion, offset: UInt64)
  }

  /// A subregion in its place.
  struct Subregion: Sendable {
    let region: MemoryRegion
    let offset: UInt64
    let priority: Int
  }

  struct State: Sendable {
    var isEnabled = true
    var isReadOnly = false
    var isPlaced = false
    var logClients: DirtyClients = []
    /// In the order in which they are seen: highest priority first, of equals the last added.
    var subregions: [Subregion] = []
  }

  /// What it is called in errors and listings.
  public let name: String
  /// Its size in bytes: 1 to 2^63.
  public let byteCount: UInt64
  /// What it holds.
  public let content: Content

  private let state: Mutex<State>

  private init(name: String, byteCount: UInt64, content: Content, isReadOnly: Bool = false) {
    precondition(byteCount >= 1 && byteCount <= 1 << 63, "a region has 1 to 2^63 bytes")
    self.name = name
    self.byteCount = byteCount
    self.content = content
    state = Mutex(State(isReadOnly: isReadOnly))
  }

  /// A region that holds nothing but its subregions.
  public static func container(name: String, byteCount: UInt64) -> MemoryRegion {
    MemoryRegion(name: name, byteCount: byteCount, content: .container)
  }

  /// Memory that the guest reads and writes: all of a block.
  public static func ram(_ block: RAMBlock) -> MemoryRegion {
    ram(name: block.name, block: block, offset: 0, byteCount: block.byteCount)
  }

  /// Memory that the guest reads and writes: a part of a block.
  public static func ram(
    name: String, block: RAMBlock, offset: Int, byteCount: Int
  ) -> MemoryRegion {
    precondition(
      offset >= 0 && byteCount > 0 && byteCount <= block.byteCount - offset,
      "a region inside its RAM block")
    return MemoryRegion(
      name: name, byteCount: UInt64(byteCount), content: .ram(block, offset: offset))
  }

  /// Memory that the guest can only read: all of a block, which the host may write.
  public static func rom(_ block: RAMBlock) -> MemoryRegion {
    MemoryRegion(
      name: block.name, byteCount: UInt64(block.byteCount), content: .ram(block, offset: 0),
      isReadOnly: true)
  }

  /// Registers.
  public static func mmio(
    name: String, byteCount: UInt64, handler: any MMIOHandler
  ) -> MemoryRegion {
    MemoryRegion(name: name, byteCount: byteCount, content: .mmio(handler))
  }

  /// A window on another region, which shows whatever is seen there.
  /// - Parameters:
  ///   - name: what it is called.
  ///   - target: the region shown; the alias must not lie inside it.
  ///   - offset: where in the target the window begins.
  ///   - byteCount: the window's size; what reaches beyond the target shows nothing.
  public static func alias(
    name: String, of target: MemoryRegion, offset: UInt64, byteCount: UInt64
  ) -> MemoryRegion {
    MemoryRegion(name: name, byteCount: byteCount, content: .alias(target, offset: offset))
  }

  /// Everything about it that can change, at one instant.
  var snapshot: State { state.withLock { $0 } }

  /// Whether it, with all of its subregions, is there at all.
  public var isEnabled: Bool {
    get { state.withLock { $0.isEnabled } }
    set { state.withLock { $0.isEnabled = newValue } }
  }

  /// Whether the guest can only read it, and what it shows (subregions, an alias's target).
  public var isReadOnly: Bool {
    get { state.withLock { $0.isReadOnly } }
    set { state.withLock { $0.isReadOnly = newValue } }
  }

  /// For whom writes to this RAM are noticed, beside those that notice writes to all of it.
  public var logClients: DirtyClients {
    get { state.withLock { $0.logClients } }
    set { state.withLock { $0.logClients = newValue } }
  }

  /// Puts a region in its place; what reaches beyond this region is not seen.
  /// - Parameters:
  ///   - region: has no place yet, and does not hold this one.
  ///   - offset: bytes from this region's beginning.
  ///   - priority: who is seen where regions overlap: the higher, of equals the one added last.
  public func addSubregion(_ region: MemoryRegion, at offset: UInt64, priority: Int = 0) {
    if case .alias = content { preconditionFailure("an alias has no subregions of its own") }
    region.state.withLock { state in
      precondition(!state.isPlaced, "a region has one place; an alias can show it elsewhere")
      state.isPlaced = true
    }
    state.withLock { state in
      let index = state.subregions.firstIndex { $0.priority <= priority }
      state.subregions.insert(
        Subregion(region: region, offset: offset, priority: priority),
        at: index ?? state.subregions.count)
    }
  }

  /// Takes a region out of its place, if it is here.
  public func removeSubregion(_ region: MemoryRegion) {
    let wasHere = state.withLock { state in
      let count = state.subregions.count
      state.subregions.removeAll { $0.region === region }
      return state.subregions.count < count
    }
    if wasHere { region.state.withLock { $0.isPlaced = false } }
  }
}
