// What this host can do to notice a guest's writes.

public import KVM
import Userfault

/// What a host offers for noticing writes; probed once, judged by ``DirtyLogChoice``.
public struct DirtyLogCapabilities: Equatable, Sendable {
  /// What KVM offers.
  public struct KVMOffer: Equatable, Sendable {
    /// The dirty log is cleared by request, in pieces.
    public var hasManualProtect: Bool
    /// A log that begins with every page set, so that beginning it costs nothing.
    public var hasInitiallySet: Bool
    /// The largest dirty ring of a vCPU in bytes; 0 where there are none.
    public var ringByteLimit: Int
    /// Whether the kernel leaves some pages to the bitmap although the ring is on.
    public var ringNeedsBitmap: Bool

    /// An offer.
    public init(
      hasManualProtect: Bool = false, hasInitiallySet: Bool = false, ringByteLimit: Int = 0,
      ringNeedsBitmap: Bool = false
    ) {
      self.hasManualProtect = hasManualProtect
      self.hasInitiallySet = hasInitiallySet
      self.ringByteLimit = ringByteLimit
      self.ringNeedsBitmap = ringNeedsBitmap
    }
  }

  /// What KVM offers; nil where no KVM owns the guest's memory.
  public var kvm: KVMOffer?
  /// Why the kernel's page tables cannot tell what was written; nil where they can.
  public var writeProtectObstacle: String?

  /// Capabilities as found elsewhere, or made up.
  public init(kvm: KVMOffer?, writeProtectObstacle: String? = nil) {
    self.kvm = kvm
    self.writeProtectObstacle = writeProtectObstacle
  }

  /// Asks this host.
  /// - Parameter kvm: the KVM that owns the guest's memory; nil where none does.
  public init(probing kvm: KVMSystem?) {
    self.kvm = kvm.map { system in
      let manual = system.check(.manualDirtyLogProtect)
      return KVMOffer(
        hasManualProtect: manual & 1 != 0, hasInitiallySet: manual & 3 == 3,
        ringByteLimit: max(
          system.check(.dirtyLogRing), system.check(.dirtyLogRingAcquireRelease)),
        ringNeedsBitmap: false)
    }
    do throws(UserfaultError) {
      _ = try Userfault(features: .asynchronousTracking)
      _ = try WrittenPages()
      writeProtectObstacle = nil
    } catch {
      writeProtectObstacle = "\(error)"
    }
  }
}
