// KVM's memory slots, kept in step with the flat view.

public import GuestMemory
public import KVM
import Synchronization

/// Follows an address space with a virtual machine's memory slots.
///
/// A change of the layout is collected from begin to commit and then carried out at once: what
/// only changes who logs it is told to KVM in place; a slot that is split, merged, moved or taken
/// away goes first and what takes its place comes after, and while that happens no vCPU is in the
/// guest, so that none ever misses memory that both layouts have. The dirty log of a slot that goes
/// is taken into the bitmaps before.
public final class KVMMemorySlots: MemoryListener {
  /// What it is, for errors.
  public let listenerName = "KVM's memory slots"

  /// How KVM notices writes for it.
  enum Method: Equatable {
    /// KVM_GET_DIRTY_LOG, which also clears.
    case bitmap
    /// KVM_GET_DIRTY_LOG, and KVM_CLEAR_DIRTY_LOG before pages are sent.
    case clear(isInitiallySet: Bool)
    /// Dirty rings of the vCPUs.
    case ring(byteCount: Int)
    /// Not at all: others notice them.
    case none
  }

  struct State {
    /// In the order of their numbers.
    var slots: [Slot] = []
    var rings: [DirtyRing] = []
    /// The vCPU whose ring was overrun, if one was.
    var overrun: Int?
    /// Pages reported since ``KVMMemorySlots/takeReportedCount()``.
    var reportedCount = 0
    // What a change has brought so far.
    var deleted: [FlatRange] = []
    var added: [FlatRange] = []
    var relogged: [FlatRange] = []
  }

  let machine: KVMVirtualMachine
  let method: Method
  private let pausing: any VCPUPausing
  private let slotByteLimit: UInt64
  let state = Mutex(State())

  /// Prepares a machine that has no vCPU yet; the listener is then added to an address space.
  /// - Parameters:
  ///   - machine: the virtual machine; nobody else sets its memory.
  ///   - choice: how writes are noticed; what it needs is switched on here.
  ///   - pausing: keeps the vCPUs out of the guest where a change needs it.
  public convenience init(
    machine: KVMVirtualMachine, choice: DirtyLogChoice, pausing: any VCPUPausing
  ) throws(KVMError) {
    try self.init(
      machine: machine, choice: choice, pausing: pausing, slotByteLimit: SlotPlan.byteLimit)
  }

  init(
    machine: KVMVirtualMachine, choice: DirtyLogChoice, pausing: any VCPUPausing,
    slotByteLimit: UInt64
  ) throws(KVMError) {
    self.machine = machine
    self.pausing = pausing
    self.slotByteLimit = slotByteLimit
    switch choice.kind {
    case .bitmap:
      method = .bitmap
    case .clear:
      method = .clear(isInitiallySet: choice.isInitiallySet)
      try machine.enable(.manualDirtyLogProtect, choice.isInitiallySet ? 3 : 1)
    case .ring:
      method = .ring(byteCount: choice.ringByteCount)
      // Where the kernel insists on explicit ordering it offers only the younger capability; the
      // rings are read with acquire and release either way.
      let hasPlain = machine.check(.dirtyLogRing) != 0
      try machine.enable(
        hasPlain ? .dirtyLogRing : .dirtyLogRingAcquireRelease, UInt64(choice.ringByteCount))
    case .writeProtect:
      method = .none
    }
  }

  /// Takes a vCPU's dirty ring into account; to be called for each vCPU before it runs.
  public func add(_ vcpu: KVMVCPU) throws(KVMError) {
    guard case .ring(let byteCount) = method else { return }
    let ring = try vcpu.mapDirtyRing(byteCount: byteCount)
    state.withLock { $0.rings.append(ring) }
  }

  /// The slots in force, by guest address.
  public var slots: [SlotPlan] {
    state.withLock { state in
      state.slots.map(\.plan).sorted { $0.guest.start < $1.guest.start }
    }
  }

  // MARK: Changes of the layout

  /// A change begins.
  public func begin() {
    state.withLock { state in
      state.deleted = []
      state.added = []
      state.relogged = []
    }
  }

  /// A range appeared.
  public func regionAdded(_ range: FlatRange) {
    state.withLock { $0.added.append(range) }
  }

  /// A range disappeared.
  public func regionDeleted(_ range: FlatRange) {
    state.withLock { $0.deleted.append(range) }
  }

  /// A range's writes are noticed for more clients.
  public func logStart(_ range: FlatRange, from old: DirtyClients) {
    state.withLock { $0.relogged.append(range) }
  }

  /// A range's writes are noticed for fewer clients.
  public func logStop(_ range: FlatRange, from old: DirtyClients) {
    state.withLock { $0.relogged.append(range) }
  }

  /// Carries the change out.
  public func commit() throws(GuestMemoryError) {
    let needsPause = state.withLock { Self.needsPause($0) }
    var failure: KVMError?
    // The vCPUs stand still before the lock is taken: one of them may need it to get out, with a
    // full ring.
    let apply = {
      self.state.withLock { state in
        do throws(KVMError) {
          try self.carryOut(&state)
        } catch {
          failure = error
        }
      }
    }
    if needsPause { pausing.withVCPUsPaused(apply) } else { apply() }
    if let failure { throw .listenerFailed(listener: listenerName, reason: failure.clause) }
  }

  /// Whether a vCPU could miss something: memory that is there before and after, or a write to a
  /// logged slot that goes.
  private static func needsPause(_ state: State) -> Bool {
    state.deleted.contains { range in
      if !range.logClients.isEmpty { return true }
      return state.added.contains { $0.guest.overlaps(range.guest) }
    }
  }

  private func carryOut(_ state: inout State) throws(KVMError) {
    if case .ring = method, !state.deleted.isEmpty { try collectRings(&state) }
    for range in state.deleted { try removeSlots(of: range, &state) }
    for range in state.added { try addSlots(of: range, &state) }
    // What was added has its log from the beginning; what was deleted has none any more.
    let settled = state.added + state.deleted
    for range in state.relogged {
      if settled.contains(where: { $0.isSameMapping(as: range) }) { continue }
      try relog(range, &state)
    }
    state.deleted = []
    state.added = []
    state.relogged = []
  }

  private func removeSlots(of range: FlatRange, _ state: inout State) throws(KVMError) {
    for index in state.slots.indices.reversed() where state.slots[index].isPart(of: range) {
      if isLogged(state.slots[index].logClients) {
        state.reportedCount += try harvest(&state.slots[index])
      }
      var gone = state.slots[index].kernelSlot(isLogged: false)
      gone.byteCount = 0
      try machine.setMemory(gone)
      state.slots.remove(at: index)
    }
  }

  private func addSlots(of range: FlatRange, _ state: inout State) throws(KVMError) {
    let plans = SlotPlan.slots(
      for: range, pageSize: UInt64(KVMVirtualMachine.hostPageByteCount),
      byteLimit: slotByteLimit)
    for plan in plans {
      let number = try freeNumber(state)
      var slot = Slot(number: number, plan: plan, logClients: range.logClients)
      try machine.setMemory(slot.kernelSlot(isLogged: isLogged(slot.logClients)))
      if isLogged(slot.logClients) { try beginLog(&slot, startsClean: true) }
      let index = state.slots.firstIndex { $0.number > number } ?? state.slots.count
      state.slots.insert(slot, at: index)
    }
  }

  private func relog(_ range: FlatRange, _ state: inout State) throws(KVMError) {
    for index in state.slots.indices where state.slots[index].isPart(of: range) {
      let wasLogged = isLogged(state.slots[index].logClients)
      let isLogged = isLogged(range.logClients)
      if wasLogged != isLogged {
        // What KVM refuses leaves the slot as it is.
        try machine.setMemory(state.slots[index].kernelSlot(isLogged: isLogged))
      }
      state.slots[index].logClients = range.logClients
      guard wasLogged != isLogged else { continue }
      if isLogged {
        try beginLog(&state.slots[index], startsClean: false)
      } else {
        state.slots[index].bits = []
      }
    }
  }

  /// Whether KVM logs a slot that those clients want.
  func isLogged(_ clients: DirtyClients) -> Bool {
    !clients.isEmpty && method != .none
  }

  private func freeNumber(_ state: State) throws(KVMError) -> UInt32 {
    let limit = UInt32(truncatingIfNeeded: machine.check(.memorySlotCount))
    var number: UInt32 = 0
    for slot in state.slots where slot.number == number { number += 1 }
    if number < max(limit, 32) { return number }
    throw .unsupported("Adding a memory slot", capability: "more than \(limit) of them")
  }
}

extension Slot {
  /// Whether the slot shows a part of a range.
  func isPart(of range: FlatRange) -> Bool {
    guard let ram = range.ram else { return false }
    return ram.block === plan.block && range.guest.contains(plan.guest.start)
  }
}

extension GuestRange {
  /// Whether two runs share an address.
  func overlaps(_ other: GuestRange) -> Bool {
    start < other.end && other.start < end
  }
}

extension KVMError {
  /// The sentence as a part of another: without its full stop.
  var clause: String {
    let text = description
    return text.hasSuffix(".") ? String(text.dropLast()) : text
  }
}
