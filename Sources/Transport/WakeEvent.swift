// A flag that threads can wait for together with a descriptor; once raised it stays so.

import CLinux
import Glibc
import Synchronization

/// Ends the waits of other threads, once and for all.
struct WakeEvent: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
  private let raised = Atomic<Bool>(false)

  init() throws(TransportError) {
    let number = godwit_eventfd()
    guard number >= 0 else { throw .failed(action: "Creating an event descriptor", code: -number) }
    descriptor = OwnedDescriptor(adopting: number)
  }

  /// What poll(2) waits for.
  var raw: Int32 { descriptor.raw }

  /// Whether `raise()` was called.
  var isRaised: Bool { raised.load(ordering: .acquiring) }

  /// Ends every present and future wait.
  func raise() {
    raised.store(true, ordering: .releasing)
    var one: UInt64 = 1
    // SAFETY: eight bytes of a local are read.
    _ = unsafe Glibc.write(descriptor.raw, &one, 8)
  }
}
