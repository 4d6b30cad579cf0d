// Everything that can go wrong between here and a peer, each as a sentence.

/// Why a channel could not be opened or used.
public enum TransportError: Error, Equatable, Sendable {
  /// The text is no migration URI that Godwit opens; `reason` completes "because".
  case badURI(String, reason: String)
  /// The URI is fine but of no use for what was asked; `reason` is a clause.
  case unsuitableURI(String, reason: String)
  /// The host name has no address; `reason` is the resolver's text.
  case unknownHost(String, reason: String)
  /// A system call failed while doing `action` (such as "Connecting to tcp:localhost:1").
  case failed(action: String, code: Int32)
  /// Nothing happened in the time allowed.
  case timedOut(action: String, after: Duration)
  /// Another thread ended the channel or listener while `action` was under way.
  case cancelled(action: String)
  /// The peer has gone, while `action` was under way.
  case peerGone(action: String)
  /// Bytes were to be written after the channel's writing side was ended.
  case writingEnded(peer: String)
  /// The address is reachable from other machines and nothing protects the channel.
  case notLoopback(String)
  /// The command behind an `exec:` channel did not end well.
  case commandFailed(command: String, exit: CommandExit)
}

extension TransportError: CustomStringConvertible {
  /// A sentence for a person: what was being done, to what, what was found, what to do next.
  public var description: String {
    switch self {
    case .badURI(let text, let reason):
      "'\(text)' is not a migration address that Godwit can open: \(reason)."
    case .unsuitableURI(let text, let reason):
      "'\(text)' cannot be used here: \(reason)."
    case .unknownHost(let host, let reason):
      "Looking up the host '\(host)' failed: \(reason). Check its spelling, or give an address."
    case .failed(let action, let code):
      "\(action) failed: \(SystemCall.text(of: code)).\(Self.advice(for: code))"
    case .timedOut(let action, let duration):
      "\(action) was given up: nothing happened for \(duration.secondsText) s."
    case .cancelled(let action):
      "\(action) was cancelled."
    case .peerGone(let action):
      "\(action) failed: the other side has closed the connection. "
        + "Look at its log for the reason."
    case .writingEnded(let peer):
      "Writing to \(peer) is over: this side has already ended the stream."
    case .notLoopback(let address):
      "Listening on \(address) was refused: other machines reach this address, and whoever "
        + "connects first could read or replace a machine's memory. Use a loopback address "
        + "(through an SSH tunnel, say), or allow it expressly as insecure."
    case .commandFailed(let command, let exit):
      "The command '\(command)' \(exit). Its own messages are on standard error."
    }
  }

  /// The error number of the failed system call, where one failed.
  public var code: Int32? {
    guard case .failed(_, let code) = self else { return nil }
    return code
  }

  /// Whether this host is what failed, or the command that was to take the bytes: it tells nothing
  /// of a peer.
  public var isLocal: Bool {
    switch self {
    case .failed(_, let code): SystemCall.meansNoRoom(code)
    case .commandFailed: true
    case .badURI, .unsuitableURI, .unknownHost, .timedOut, .cancelled, .peerGone, .writingEnded,
      .notLoopback:
      false
    }
  }

  private static func advice(for code: Int32) -> String {
    switch SystemCall.Known(code) {
    case .refused: " Nothing listens there: check the address, and that the other side runs."
    case .missing: " Check the path, and that the other side has started."
    case .denied: " Run as the user who owns it, or change its permissions."
    case .inUse: " Choose another address, or end what uses this one."
    case .full: " Free some space and try again."
    case .other: ""
    }
  }
}
