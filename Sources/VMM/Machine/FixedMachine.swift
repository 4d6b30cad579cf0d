// A machine that is not moved.

import QMP

/// The moving part of a machine that stays where it is: every request is refused.
final class FixedMachine: MachineMigration {
  let supportedCapabilities: Set<String> = []

  func observe(_ observer: @escaping @Sendable (MigrationEvent) -> Void) {}

  var account: MigrationAccount { MigrationAccount() }

  func send(
    to peer: MigrationPeer, _ settings: MigrationOptions, resumes: Bool
  ) throws(MachineError) { throw Self.refusal }

  func receive(
    from peer: MigrationPeer, _ settings: MigrationOptions, exitsOnError: Bool
  ) throws(MachineError) { throw Self.refusal }

  func apply(_ settings: MigrationOptions) {}

  func cancel() throws(MachineError) {}

  func recover(from peer: MigrationPeer) throws(MachineError) { throw Self.refusal }

  func pause() throws(MachineError) { throw Self.refusal }

  func proceed() throws(MachineError) { throw Self.refusal }

  func startPostcopy() throws(MachineError) { throw Self.refusal }

  private static let refusal = MachineError.configuration(
    "this machine cannot be moved: it was built without the part that moves it")
}
