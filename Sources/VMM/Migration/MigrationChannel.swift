// Where a machine goes to or comes from, opened.

import QMP
import Transport

/// Opens the connections of migrations.
enum MigrationChannel {
  /// Connects to where a machine is to go.
  ///
  /// - Parameter hasReturnPath: whether the other side answers; a file cannot.
  static func open(
    _ peer: MigrationPeer, hasReturnPath: Bool
  ) throws(TransportError) -> ByteChannel {
    switch peer {
    case .address(let address):
      return try ByteChannel.connect(to: address, for: purpose(of: address, hasReturnPath))
    case .descriptor(let descriptor, let name):
      guard let taken = descriptor.take() else {
        throw .unsuitableURI("fd:\(name)", reason: "the descriptor was used before")
      }
      return try ByteChannel(adopting: taken, peer: "fd:\(name)")
    }
  }

  /// Refuses what only one connection leads to, where two are needed, in QEMU's words.
  static func requireSeveral(to peer: MigrationPeer) throws(MachineError) {
    switch peer {
    case .address(.tcp), .address(.unix): return
    case .address(.descriptor), .address(.command), .address(.file), .descriptor:
      throw .refused("Migration requires multi-channel URIs (e.g. tcp)")
    }
  }

  /// Only a file has to be told which way it is used.
  private static func purpose(of address: MigrationURI, _ hasReturnPath: Bool) -> ChannelPurpose {
    if case .file = address, !hasReturnPath { return .writing }
    return .both
  }

  /// What a machine comes from: a socket that waits for its source, or a source that is there.
  final class Origin: Sendable {
    private enum Kind {
      case listener(Listener)
      case peer(MigrationPeer)
    }

    private let kind: Kind

    /// Begins to listen where the address is one of a socket.
    init(_ peer: MigrationPeer) throws(TransportError) {
      switch peer {
      case .address(.tcp(let host, let port)):
        kind = .listener(try Listener(.tcp(host: host, port: port)))
      case .address(.unix(let path)): kind = .listener(try Listener(.unix(path: path)))
      case .address(.descriptor), .address(.command), .address(.file), .descriptor:
        kind = .peer(peer)
      }
    }

    /// The address that a source connects to, where there is one.
    var listeningAddress: MigrationURI? {
      guard case .listener(let listener) = kind else { return nil }
      return listener.address
    }

    /// Whether it waits at this very address.
    func listens(at peer: MigrationPeer) -> Bool {
      guard case .address(let address) = peer else { return false }
      return listeningAddress == address
    }

    /// Waits for the source.
    func channel() throws(TransportError) -> ByteChannel {
      switch kind {
      case .listener(let listener): return try listener.accept()
      case .peer(.address(.file(let path, let offset))):
        return try ByteChannel.connect(to: .file(path: path, offset: offset), for: .reading)
      case .peer(let peer): return try MigrationChannel.open(peer, hasReturnPath: true)
      }
    }

    /// Ends the wait: whoever connects from now on is refused.
    func close() {
      if case .listener(let listener) = kind { listener.close() }
    }
  }
}
