// What KVM noticed: from the slots' bitmaps and the vCPUs' rings into the RAM list's bitmaps.

public import GuestMemory
public import KVM
import Synchronization

extension KVMMemorySlots {
  /// Host pages that one KVM_CLEAR_DIRTY_LOG covers: 64 MiB, a multiple of 64.
  ///
  /// A larger chunk costs fewer requests; a smaller one reports fewer pages twice (pages of the
  /// chunk that were written between the request and their own sending).
  static let clearChunkPageCount = 1 << 14

  // MARK: The listener's half

  /// Takes what was noticed in a range into the bitmaps.
  public func logSync(_ range: FlatRange) throws(GuestMemoryError) {
    try syncing { state throws(KVMError) in
      try self.harvestSlots(&state) { $0.isPart(of: range) }
    }
  }

  /// Takes what was noticed anywhere into the bitmaps.
  public func logSyncAll(_ view: FlatView) throws(GuestMemoryError) {
    try syncing { state throws(KVMError) in
      try self.harvestSlots(&state) { _ in true }
    }
  }

  /// Protects pages again that are about to be read.
  public func logClear(_ range: FlatRange, part: Range<UInt64>) throws(GuestMemoryError) {
    guard case .clear = method, !part.isEmpty else { return }
    let start = range.guest.start.rawValue
    let wanted = start + part.lowerBound..<start + part.upperBound
    try syncing { state throws(KVMError) in
      for index in state.slots.indices where state.slots[index].isPart(of: range) {
        let guest = state.slots[index].plan.guest
        let overlap = wanted.clamped(to: guest.start.rawValue..<guest.end.rawValue)
        guard !overlap.isEmpty else { continue }
        let pageSize = UInt64(KVMVirtualMachine.hostPageByteCount)
        let first = Int((overlap.lowerBound - guest.start.rawValue) / pageSize)
        let end = Int((overlap.upperBound - guest.start.rawValue + pageSize - 1) / pageSize)
        try self.clear(&state.slots[index], pages: first..<end)
      }
    }
  }

  /// How many pages were reported since the last time this was asked.
  func takeReportedCount() -> Int {
    state.withLock { state in
      defer { state.reportedCount = 0 }
      return state.reportedCount
    }
  }

  private func syncing(
    _ body: (inout State) throws(KVMError) -> Void
  ) throws(GuestMemoryError) {
    try state.withLock { state throws(GuestMemoryError) in
      do throws(KVMError) {
        try body(&state)
      } catch {
        throw .dirtyLogFailed(
          source: methodName, action: "Following the guest's writes", reason: error.clause)
      }
    }
  }

  private var methodName: String {
    switch method {
    case .bitmap: DirtyLogKind.bitmap.rawValue
    case .clear: DirtyLogKind.clear.rawValue
    case .ring: DirtyLogKind.ring.rawValue
    case .none: DirtyLogKind.writeProtect.rawValue
    }
  }

  // MARK: Bitmaps

  private func harvestSlots(
    _ state: inout State, _ isWanted: (Slot) -> Bool
  ) throws(KVMError) {
    if case .ring = method { try collectRings(&state) }
    for index in state.slots.indices
    where isLogged(state.slots[index].logClients) && isWanted(state.slots[index]) {
      state.reportedCount += try harvest(&state.slots[index])
    }
  }

  /// Takes a slot's log into the bitmaps.
  /// - Returns: how many pages it had.
  func harvest(_ slot: inout Slot) throws(KVMError) -> Int {
    guard !slot.plan.isReadOnly else { return 0 }
    switch method {
    case .none:
      return 0
    case .bitmap:
      try machine.readDirtyLog(slot: slot.number, into: &slot.bits)
    case .clear:
      // Not cleared by reading: what was reported and not sent since is reported again, which
      // loses nothing.
      try machine.readDirtyLog(slot: slot.number, into: &slot.bits)
    case .ring:
      break
    }
    let count = slot.bits.reduce(0) { $0 + $1.nonzeroBitCount }
    guard count > 0 else { return 0 }
    slot.merge(slot.bits)
    if case .ring = method {
      slot.bits = [UInt64](repeating: 0, count: slot.wordCount)
    }
    return count
  }

  /// Brings a slot's log into its first state, after KVM began it.
  /// - Parameter startsClean: whether the pages that are in it count as sent already: the slot only
  ///   takes the place of another, or shows memory that others have followed so far.
  func beginLog(_ slot: inout Slot, startsClean: Bool) throws(KVMError) {
    guard !slot.plan.isReadOnly else { return }
    slot.bits = [UInt64](repeating: 0, count: slot.wordCount)
    guard method == .clear(isInitiallySet: true) else { return }
    // Every page is in the log and none is protected; each is protected before it is sent first.
    slot.bits = slot.allPages
    if startsClean { try clear(&slot, pages: 0..<slot.pageCount) }
  }

  /// Protects the pages of every chunk that a run of pages touches, as far as they are in the log.
  private func clear(_ slot: inout Slot, pages: Range<Int>) throws(KVMError) {
    guard !slot.plan.isReadOnly, slot.bits.count == slot.wordCount else { return }
    let chunkSize = Self.clearChunkPageCount
    var first = pages.lowerBound / chunkSize * chunkSize
    while first < min(pages.upperBound, slot.pageCount) {
      let end = min(first + chunkSize, slot.pageCount)
      // The rest of the chunk goes with it only where the run itself has something to protect.
      let inRun = max(first, pages.lowerBound)..<min(end, pages.upperBound)
      if slot.hasBits(in: inRun) {
        var words = Array(slot.bits[first / 64..<(end + 63) / 64])
        try machine.clearDirtyLog(
          slot: slot.number, firstPage: first, pageCount: end - first, words: &words)
        for word in first / 64..<(end + 63) / 64 { slot.bits[word] = 0 }
      }
      first = end
    }
  }

  // MARK: Rings

  /// Empties the rings and lets the vCPUs fill them again.
  ///
  /// For the reaper, and for a vCPU that left the guest because its ring is full.
  /// - Throws: ``KVMError/ringOverrun(vcpu:)`` where KVM did not stop a vCPU in time: a KVM that
  ///   emulates one instruction after the other may not. That vCPU cannot run any more, and no
  ///   log of it is trusted.
  public func collectRings() throws(KVMError) {
    try state.withLock { state throws(KVMError) in try collectRings(&state) }
  }

  /// Notes what the rings have in the slots' bitmaps and has KVM protect those pages again.
  func collectRings(_ state: inout State) throws(KVMError) {
    guard case .ring = method else { return }
    var count = 0
    var index = 0
    for ring in state.rings {
      let collected = ring.collect { number, page in
        // Neighbouring entries are mostly of one slot.
        if !(state.slots.indices.contains(index) && state.slots[index].number == number) {
          guard let found = state.slots.firstIndex(where: { $0.number == number }) else { return }
          index = found
        }
        guard page < UInt64(state.slots[index].bits.count) * 64 else { return }
        state.slots[index].bits[Int(page / 64)] |= 1 << (page % 64)
      }
      count += collected
      // KVM keeps entries free for what a vCPU may still write on its way out: all of them are
      // never in use unless some were overwritten.
      if collected >= ring.entryCount { state.overrun = ring.vcpu }
    }
    if count > 0 { try machine.resetDirtyRings() }
    if let vcpu = state.overrun { throw .ringOverrun(vcpu: vcpu) }
  }

  /// Forgets what the rings and bitmaps have.
  func forget() throws(KVMError) {
    try state.withLock { state throws(KVMError) in
      try collectRings(&state)
      for index in state.slots.indices {
        let wordCount = state.slots[index].bits.count
        state.slots[index].bits = [UInt64](repeating: 0, count: wordCount)
      }
    }
  }
}

extension Slot {
  /// Whether any page of a run is in the log.
  func hasBits(in pages: Range<Int>) -> Bool {
    guard !pages.isEmpty else { return false }
    for word in pages.lowerBound / 64...(pages.upperBound - 1) / 64 {
      var mask = UInt64.max
      if word == pages.lowerBound / 64 { mask &= .max << UInt64(pages.lowerBound % 64) }
      let above = pages.upperBound - word * 64
      if above < 64 { mask &= (1 << UInt64(above)) - 1 }
      if bits[word] & mask != 0 { return true }
    }
    return false
  }
}
