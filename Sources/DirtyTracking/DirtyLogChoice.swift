// Which source of dirty pages a machine uses, decided from what there is and what was asked.

/// The source of dirty pages that a machine uses, and why.
public struct DirtyLogChoice: Equatable, Sendable {
  /// The source.
  public let kind: DirtyLogKind
  /// Why this and no other: a sentence.
  public let reason: String
  /// Size of each vCPU's dirty ring in bytes, where it is the ring; otherwise 0.
  public let ringByteCount: Int
  /// Whether the log begins with every page set, where it is cleared by request.
  public let isInitiallySet: Bool

  /// Entries of a dirty ring unless the kernel allows fewer: 1 MiB for each vCPU, which a guest
  /// that dirties 1 GB/s fills in a quarter of a second.
  public static let ringEntryCount = 65_536
  /// Size of an entry in bytes (`struct kvm_dirty_gfn`).
  public static let ringEntryByteCount = 16

  /// Why a source that was asked for cannot be had.
  public struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// The source.
    public let kind: DirtyLogKind
    /// A sentence for a person.
    public let description: String
  }

  /// Chooses.
  ///
  /// Left to itself: with KVM, the log that is cleared by request where there is one (no page is
  /// protected before it is sent), otherwise the plain bitmap; without KVM, the page tables.
  /// - Parameters:
  ///   - requested: the source asked for; nil leaves the choice to the host.
  ///   - capabilities: what there is.
  ///   - ringEntryCount: entries of each vCPU's ring, where it is the ring: a power of two, as many
  ///     as the kernel allows at most.
  public init(
    requested: DirtyLogKind?, from capabilities: DirtyLogCapabilities,
    ringEntryCount: Int = DirtyLogChoice.ringEntryCount
  ) throws(Refusal) {
    let kind = requested ?? Self.best(capabilities)
    if let obstacle = Self.obstacle(to: kind, capabilities) {
      let others = DirtyLogKind.allCases.filter { Self.obstacle(to: $0, capabilities) == nil }
        .map(\.rawValue)
      let advice =
        others.isEmpty
        ? "Nothing else is possible here either."
        : "Possible here: \(others.joined(separator: ", "))."
      throw Refusal(
        kind: kind,
        description: "The dirty log '\(kind.rawValue)' cannot be used: \(obstacle). \(advice)")
    }
    self.kind = kind
    isInitiallySet = kind == .clear && capabilities.kvm?.hasInitiallySet == true
    ringByteCount =
      kind == .ring
      ? min(
        ringEntryCount * Self.ringEntryByteCount, capabilities.kvm?.ringByteLimit ?? 0) : 0
    reason =
      requested == nil
      ? Self.reason(for: kind, capabilities) : "The dirty log '\(kind.rawValue)' was asked for."
  }

  private static func best(_ capabilities: DirtyLogCapabilities) -> DirtyLogKind {
    guard let kvm = capabilities.kvm else { return .writeProtect }
    return kvm.hasManualProtect ? .clear : .bitmap
  }

  private static func reason(
    for kind: DirtyLogKind, _ capabilities: DirtyLogCapabilities
  ) -> String {
    switch kind {
    case .clear:
      capabilities.kvm?.hasInitiallySet == true
        ? "KVM clears its dirty log by request, and begins it without touching any page."
        : "KVM clears its dirty log by request, just before pages are sent."
    case .bitmap: "This KVM's dirty log is cleared only as a whole."
    case .ring: "KVM offers dirty rings."
    case .writeProtect: "No KVM owns the guest's memory; the kernel's page tables tell."
    }
  }

  /// What is in the way of a source: a clause, or nil.
  private static func obstacle(
    to kind: DirtyLogKind, _ capabilities: DirtyLogCapabilities
  ) -> String? {
    guard kind != .writeProtect else {
      guard let obstacle = capabilities.writeProtectObstacle else { return nil }
      return obstacle.hasSuffix(".") ? String(obstacle.dropLast()) : obstacle
    }
    guard let kvm = capabilities.kvm else { return "no KVM owns the guest's memory" }
    switch kind {
    case .clear where !kvm.hasManualProtect:
      return "this host's KVM does not offer KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2"
    case .ring where kvm.ringByteLimit < 4096:
      return "this host's KVM does not offer KVM_CAP_DIRTY_LOG_RING"
    case .ring where kvm.ringNeedsBitmap:
      return "this host's KVM leaves some writes to the bitmap beside the ring"
    default: return nil
    }
  }
}
