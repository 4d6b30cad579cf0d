// The end of a connection that QEMU is given.

import QMP
import Synchronization
import Transport

/// One end of a socket pair on its way into a QEMU.
///
/// QEMU gets a copy by `getfd`, and ours is closed at once: as long as two processes hold an end
/// open, its peer never sees it close.
final class DescriptorHandover: Sendable {
  /// The name QEMU knows the descriptor by, and the URI that means it.
  static let name = "godwit"
  static let uri = "fd:godwit"

  private let descriptor: Mutex<OwnedDescriptor?>

  init(_ descriptor: consuming OwnedDescriptor) {
    self.descriptor = Mutex(consume descriptor)
  }

  /// Gives the descriptor to the QEMU behind `client`; once.
  func give(to client: QMPClient) async throws {
    guard client.canPassDescriptors else {
      throw MoveError(
        .refused,
        "Godwit hands QEMU its end of the connection through the QMP socket, which "
          + "\(client.address) cannot do: give the QEMU a Unix socket as well "
          + "(-qmp unix:PATH,server=on,wait=off).")
    }
    guard let number = descriptor.withLock({ $0?.raw }) else { return }
    // What close does to a number in use elsewhere cannot happen: only this object closes it.
    try await client.passDescriptor(number, named: Self.name)
    descriptor.withLock { $0 = nil }
  }
}
