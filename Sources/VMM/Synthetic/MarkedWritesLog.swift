// Dirty pages of a stand-in on a host whose page tables cannot tell.

import GuestMemory

/// Dirty pages as a stand-in marks them itself, where the host offers nothing that would notice.
final class MarkedWritesLog: DirtyLog {
  let name = "marked"
  let reason: String

  private let space: AddressSpace

  /// - Parameters:
  ///   - space: the memory that is written.
  ///   - obstacle: why the host's page tables cannot tell.
  init(_ space: AddressSpace, obstacle: String) {
    self.space = space
    reason = "The stand-in marks what it writes: \(obstacle)"
  }

  func start() throws(GuestMemoryError) {
    try space.startLogging(.migration)
  }

  func sync() -> Int { 0 }

  func willSend(_ range: RAMRange) {}

  func stop() throws(GuestMemoryError) {
    try space.stopLogging(.migration)
  }
}
