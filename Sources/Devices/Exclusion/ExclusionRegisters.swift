// How a guest says which of its pages nobody needs: a page of registers and a list in its memory.

public import GuestMemory
import Synchronization
public import VMState

/// The registers by which a guest declares pages free, and takes them back.
///
/// All numbers are little-endian. The list has 16 bytes for each range: the number of its first
/// page (guest-physical, in units of 4096 bytes) and how many pages it has, 8 bytes each.
///
/// | offset | bytes | register |
/// | --- | --- | --- |
/// | 0x00 | 4, read | `GDWX`, by which a guest knows that there is something |
/// | 0x04 | 4, read | 1, the version of this interface |
/// | 0x08 | 4, read | how many ranges a list has at most |
/// | 0x0c | 4, read | how many pages a command covers at most |
/// | 0x10 | 8 | the guest-physical address of the list |
/// | 0x18 | 4 | how many ranges the list has |
/// | 0x1c | 4 | written: a command, carried out before the next instruction; read: its result |
///
/// A guest with several processors keeps them apart by a lock of its own. What other accesses write
/// is lost, and they read zeros.
///
/// | command | what it does |
/// | --- | --- |
/// | 1 | declares the pages of the list free: they are zeros from then on, until they are written |
/// | 2 | takes the pages of the list back: what is in them counts again |
/// | 3 | takes all pages back |
///
/// Writing to a page takes it back as well.
public final class ExclusionRegisters: Device, MMIOHandler {
  /// The size of the page of registers, in bytes.
  public static let byteCount: UInt64 = 4096
  /// How many ranges a list has at most.
  public static let rangeLimit = 256
  /// How many pages a command covers at most: 64 MiB, so that no command takes long.
  public static let pageLimit: UInt64 = 1 << 14

  static let magic: UInt32 = 0x5857_4447
  static let interfaceVersion: UInt32 = 1
  private static let rangeByteCount = 16

  /// What came of a command.
  enum Result: UInt32, Sendable {
    case done = 0
    /// There is no such command.
    case unknownCommand = 1
    /// More ranges, or more pages in them, than a command takes.
    case tooMuch = 2
    /// The list does not lie in memory.
    case noList = 3
    /// A range is not the guest's memory, all of it; nothing was done.
    case noMemory = 4
    /// The machine cannot take it now; some of the pages may have been taken. They are used as
    /// before, and may be declared later.
    case notNow = 5
  }

  struct State: Sendable, Equatable {
    var list: UInt64 = 0
    var rangeCount: UInt32 = 0
    var result: UInt32 = 0
  }

  private let state = Mutex(State())
  private let memory: DeviceMemory
  private let excluded: ExcludedPages

  /// Makes the registers.
  ///
  /// - Parameters:
  ///   - memory: the guest's memory, in which the lists are.
  ///   - excluded: told what the guest says.
  public init(memory: AddressSpace, excluded: ExcludedPages) {
    self.memory = DeviceMemory(memory)
    self.excluded = excluded
  }

  /// Answers the guest's load from the registers.
  public func read(offset: UInt64, byteCount: Int) -> UInt64 {
    state.withLock { state in
      switch (offset, byteCount) {
      case (0x00, 4): UInt64(Self.magic)
      case (0x04, 4): UInt64(Self.interfaceVersion)
      case (0x08, 4): UInt64(Self.rangeLimit)
      case (0x0c, 4): Self.pageLimit
      case (0x10, 8): state.list
      case (0x10, 4): state.list & 0xffff_ffff
      case (0x14, 4): state.list >> 32
      case (0x18, 4): UInt64(state.rangeCount)
      case (0x1c, 4): UInt64(state.result)
      default: 0
      }
    }
  }

  /// Takes the guest's store to the registers; a command is carried out before this returns.
  public func write(offset: UInt64, byteCount: Int, value: UInt64) {
    // Under the lock: a guest whose processors get in each other's way waits for itself.
    state.withLock { state in
      switch (offset, byteCount) {
      case (0x10, 8): state.list = value
      case (0x10, 4): state.list = (state.list & ~0xffff_ffff) | value
      case (0x14, 4): state.list = (state.list & 0xffff_ffff) | value << 32
      case (0x18, 4): state.rangeCount = UInt32(truncatingIfNeeded: value)
      case (0x1c, 4): state.result = carryOut(value, state).rawValue
      default: break
      }
    }
  }

  private func carryOut(_ command: UInt64, _ state: State) -> Result {
    switch command {
    case 1:
      return withPieces(of: state) { pieces in
        let areTaken = pieces.allSatisfy { piece in
          excluded.declare(piece.block, offset: piece.offset, byteCount: piece.byteCount)
        }
        return areTaken ? .done : .notNow
      }
    case 2:
      return withPieces(of: state) { pieces in
        for piece in pieces {
          excluded.takeBack(
            piece.block.ramRange(offset: piece.offset, byteCount: piece.byteCount))
        }
        return .done
      }
    case 3:
      excluded.takeBackAll()
      return .done
    default: return .unknownCommand
    }
  }

  /// Reads the list once, checks all of it, and calls `body` with the memory behind it.
  private func withPieces(of state: State, _ body: ([MemoryPiece]) -> Result) -> Result {
    let count = Int(state.rangeCount)
    guard count <= Self.rangeLimit else { return .tooMuch }
    guard let list = try? memory.read(state.list, byteCount: count * Self.rangeByteCount) else {
      return .noList
    }
    var segments: [GuestSegment] = []
    var pageCount: UInt64 = 0
    for offset in stride(from: 0, to: list.count, by: Self.rangeByteCount) {
      let first = list.littleEndian(UInt64.self, at: offset)
      let pages = list.littleEndian(UInt64.self, at: offset + 8)
      let (sum, overflows) = pageCount.addingReportingOverflow(pages)
      guard !overflows, sum <= Self.pageLimit else { return .tooMuch }
      guard first <= UInt64.max / UInt64(RAMRange.pageSize) else { return .noMemory }
      pageCount = sum
      segments.append(
        GuestSegment(
          address: first * UInt64(RAMRange.pageSize), byteCount: Int(pages) * RAMRange.pageSize))
    }
    guard let pieces = memory.pieces(of: segments, toWrite: true) else { return .noMemory }
    return body(pieces)
  }

  /// Puts the device into its state of power-on: whoever comes next knows of no declarations.
  public func reset() {
    state.withLock { $0 = State() }
    excluded.takeBackAll()
  }

  /// The device's section in the machine's state; there is none for a guest that never used it.
  ///
  /// What was declared is not in it: by the time that it is loaded, those pages are zeros.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      Self.description, blank: { State() },
      capture: { self.state.withLock { $0 } },
      apply: { new in self.state.withLock { $0 = new } })
  }

  static let description = VMStateDescription<State>(
    name: "page-exclusion", version: 1, needed: { $0 != State() },
    fields: [
      .uint64("list", \.list),
      .uint32("range_count", \.rangeCount),
      .uint32("result", \.result),
    ])
}
