// How the memory slots get a moment in which no vCPU looks.

/// Whoever can keep all vCPUs out of the guest for a moment.
///
/// KVM changes a slot's size or place only by taking it away and adding it again; a vCPU that ran
/// in between would find no memory there.
public protocol VCPUPausing: AnyObject, Sendable {
  /// Runs `body` while no vCPU runs guest code.
  ///
  /// It is called on whichever thread changes the memory layout, a vCPU's own among them (its
  /// guest wrote to a register that moves memory). A vCPU that handles an exit counts as out of the
  /// guest: it may be waiting for the very change that is being made. Calls may be nested.
  func withVCPUsPaused(_ body: () -> Void)
}
