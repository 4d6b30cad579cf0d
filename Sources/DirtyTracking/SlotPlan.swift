// Which memory slots a range of the flat view needs: a pure calculation.

public import GuestMemory

/// A piece of guest memory that one slot can show.
public struct SlotPlan: Sendable {
  /// The guest addresses, whole host pages.
  public let guest: GuestRange
  /// The memory.
  public let block: RAMBlock
  /// Where in the block it begins, in bytes.
  public let blockOffset: Int
  /// Whether the guest's writes exit.
  public let isReadOnly: Bool

  /// The address of its first byte in this process.
  public var hostAddress: UInt { block.hostAddress + UInt(blockOffset) }

  /// KVM takes fewer than 2^31 pages in a slot; 4 TiB stay well below.
  public static let byteLimit: UInt64 = 1 << 42

  /// The slots for a range.
  ///
  /// Bytes at either end that do not fill a host page are left out (the guest's accesses exit, and
  /// the flat view answers them), and so is all of a range whose pages lie across the host's.
  /// - Parameters:
  ///   - range: a range of the flat view.
  ///   - pageSize: the host's page size in bytes.
  ///   - byteLimit: the largest slot in bytes, a multiple of the page size.
  public static func slots(
    for range: FlatRange, pageSize: UInt64, byteLimit: UInt64 = SlotPlan.byteLimit
  ) -> [SlotPlan] {
    guard let (block, blockOffset) = range.ram else { return [] }
    let guestStart = range.guest.start.rawValue
    let skipped = (pageSize - guestStart % pageSize) % pageSize
    guard range.guest.byteCount > skipped else { return [] }
    let hostStart = UInt64(block.hostAddress) + UInt64(blockOffset)
    guard (hostStart + skipped) % pageSize == 0 else { return [] }
    let byteCount = (range.guest.byteCount - skipped) / pageSize * pageSize
    var plans: [SlotPlan] = []
    var done: UInt64 = 0
    while done < byteCount {
      let size = min(byteLimit, byteCount - done)
      guard
        let guest = GuestRange(
          start: GuestAddress(guestStart + skipped + done), byteCount: size)
      else { break }
      plans.append(
        SlotPlan(
          guest: guest, block: block, blockOffset: blockOffset + Int(skipped + done),
          isReadOnly: range.isReadOnly))
      done += size
    }
    return plans
  }
}
