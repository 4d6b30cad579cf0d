// The three sources of dirty pages that are KVM's.

public import GuestMemory
import KVM
import Synchronization

/// Dirty pages as KVM notices them: `bitmap`, `clear` or `ring`.
public final class KVMDirtyLog: DirtyLog {
  /// The source's name.
  public let name: String
  /// Why it was chosen: a sentence.
  public let reason: String

  private let space: AddressSpace
  private let slots: KVMMemorySlots
  private let reaper = Mutex<RingReaper?>(nil)

  /// A log over the slots that follow an address space.
  /// - Parameters:
  ///   - space: the address space; `slots` is one of its listeners.
  ///   - slots: the slots.
  ///   - choice: what the slots were made with.
  public init(space: AddressSpace, slots: KVMMemorySlots, choice: DirtyLogChoice) {
    self.space = space
    self.slots = slots
    name = choice.kind.rawValue
    reason = choice.reason
  }

  /// Begins to notice writes.
  public func start() throws(GuestMemoryError) {
    try space.startLogging(.migration)
    guard case .ring = slots.method else { return }
    let slots = slots
    do throws(GuestMemoryError) {
      // What fails here fails again, and is thrown, at the next sync.
      let reaper = try RingReaper(source: name) { try? slots.collectRings() }
      self.reaper.withLock { $0 = reaper }
    } catch {
      try? space.stopLogging(.migration)
      throw error
    }
  }

  /// Takes what was noticed into the migration client's bitmap.
  ///
  /// With the ring, what a processor's own buffer of dirty pages still holds (Intel's page
  /// modification log) comes with the next time; a stopped vCPU has none.
  /// - Returns: how many pages KVM reported.
  @discardableResult
  public func sync() throws(GuestMemoryError) -> Int {
    _ = slots.takeReportedCount()
    try space.syncDirtyLog()
    return slots.takeReportedCount()
  }

  /// Protects pages again that are about to be read; only `clear` has anything to do.
  public func willSend(_ range: RAMRange) throws(GuestMemoryError) {
    guard case .clear = slots.method else { return }
    try space.clearDirtyLog(range)
  }

  /// Ends tracking.
  public func stop() throws(GuestMemoryError) {
    let reaper = reaper.withLock { reaper in
      defer { reaper = nil }
      return reaper
    }
    reaper?.end()
    try space.stopLogging(.migration)
    do throws(KVMError) {
      try slots.forget()
    } catch {
      throw .dirtyLogFailed(source: name, action: "Ending it", reason: error.clause)
    }
  }
}
