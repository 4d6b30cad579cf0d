// A gate that vCPUs pass to run, and that can be closed for a moment.

import Glibc
public import KVM

/// A gate before KVM_RUN.
///
/// vCPU threads run through ``run(_:)``. Closing the gate kicks those that are inside and waits
/// until they are out; a vCPU that handles an exit is out. The thread that closed it may itself be
/// a vCPU's.
@safe public final class RunGate: VCPUPausing, @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  // Guarded by the mutex.
  private var closedCount = 0
  private var inside: [ObjectIdentifier: KVMVCPU] = [:]

  /// An open gate.
  public init() {
    // SAFETY: both are allocated once, initialised before use and freed in deinit only.
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    unsafe mutex.initialize(to: pthread_mutex_t())
    unsafe condition.initialize(to: pthread_cond_t())
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, nil)
  }

  deinit {
    // SAFETY: nobody waits on an object that nobody holds.
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Runs a vCPU once, after waiting until the gate is open.
  ///
  /// A closing gate ends the run with ``VCPUExit/interrupted``, as any kick does.
  public func run(_ vcpu: KVMVCPU) throws(KVMError) -> VCPUExit {
    enter(vcpu)
    defer { leave(vcpu) }
    return try vcpu.run()
  }

  /// Runs `body` while no vCPU is inside the gate.
  public func withVCPUsPaused(_ body: () -> Void) {
    // SAFETY: the lock is held around every look at the state; the wait gives it up meanwhile.
    unsafe pthread_mutex_lock(mutex)
    closedCount += 1
    while !inside.isEmpty {
      // Kicked again after every wake-up: one that was just leaving may have swallowed the first.
      for vcpu in inside.values { vcpu.kick() }
      unsafe pthread_cond_wait(condition, mutex)
    }
    unsafe pthread_mutex_unlock(mutex)
    body()
    unsafe pthread_mutex_lock(mutex)
    closedCount -= 1
    unsafe pthread_cond_broadcast(condition)
    unsafe pthread_mutex_unlock(mutex)
  }

  private func enter(_ vcpu: KVMVCPU) {
    // SAFETY: as in `withVCPUsPaused`.
    unsafe pthread_mutex_lock(mutex)
    while closedCount > 0 { unsafe pthread_cond_wait(condition, mutex) }
    inside[ObjectIdentifier(vcpu)] = vcpu
    unsafe pthread_mutex_unlock(mutex)
  }

  private func leave(_ vcpu: KVMVCPU) {
    // SAFETY: as in `withVCPUsPaused`.
    unsafe pthread_mutex_lock(mutex)
    inside[ObjectIdentifier(vcpu)] = nil
    unsafe pthread_cond_broadcast(condition)
    unsafe pthread_mutex_unlock(mutex)
  }
}
