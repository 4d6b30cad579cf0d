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

  /// Only a file has to be told which way it is used.
  private static func purpose(of address: MigrationURI, _ hasReturnPath: Bool) -> ChannelPurpose {
    if case .file = address, !hasReturnPath { return .writing }
    return .both
  }

  /// What a machine comes from: a socket that waits for its source, or a source that is there.
  enum Origin: Sendable {
    case listener(Listener)
    case peer(MigrationPeer)

    /// Begins to listen where the address is one of a socket.
    init(_ peer: MigrationPeer) throws(TransportError) {
      if case .address(let address) = peer {
        switch address {
        case .tcp, .unix:
          self = .listener(try Listener(address))
          return
        case .descriptor, .command, .file: break
        }
      }
      self = .peer(peer)
    }

    /// The address that a source connects to, where there is one.
    var listeningAddress: MigrationURI? {
      guard case .listener(let listener) = self else { return nil }
      return listener.address
    }

    /// Waits for the source.
    func channel() throws(TransportError) -> ByteChannel {
      switch self {
      case .listener(let listener): return try listener.accept()
      case .peer(.address(.file(let path, let offset))):
        return try ByteChannel.connect(to: .file(path: path, offset: offset), for: .reading)
      case .peer(let peer): return try MigrationChannel.open(peer, hasReturnPath: true)
      }
    }

    /// Ends the wait.
    func cancel() {
      if case .listener(let listener) = self { listener.cancel() }
    }
  }
}
