// How ssh is called to lead sockets of this host to sockets of another.

/// The command line of an ssh that forwards sockets, for a shell.
///
/// It is the person's own ssh: what it knows of hosts, keys and ways is theirs. Only what would
/// keep it from its one purpose is switched off.
public struct SecureShell: Sendable, Equatable {
  /// The command and its first options, in the shell's notation.
  public var command: String
  /// Where to, as ssh takes it: `[user@]host`.
  public var destination: String

  /// An ssh to somewhere.
  public init(command: String, destination: String) {
    self.command = command
    self.destination = destination
  }

  /// What the far end says when all is ready.
  static let readiness = "godwit-ready"

  /// Runs until its input ends, and says first that it is there; any shell understands it.
  private static let remoteCommand = "echo \(readiness); exec cat"

  /// Options that come behind the person's own on the command line, and so do not overrule those;
  /// what their configuration files say, they do.
  static let options = [
    // No terminal, no agent and no screen over there.
    "-T", "-a", "-x",
    // A connection of its own, that ends with the move and not with another session.
    "-o", "ControlMaster=no", "-o", "ControlPath=none",
    // Forwardings of the person's that are taken already are no reason to give up.
    "-o", "ExitOnForwardFailure=no", "-o", "StreamLocalBindMask=0177",
    "-o", "RemoteCommand=none",
    // A network that has gone is noticed within a minute.
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3",
  ]

  /// The text for `/bin/sh -c`.
  ///
  /// What a terminal sends to everybody in front of it is for Godwit alone, which ends a move in
  /// order; ssh keeps ignoring what it was started to ignore, and asks for passwords all the same.
  /// - Parameter forwards: local paths, and what they lead to.
  func script(forwarding forwards: [(local: String, remote: String)]) -> String {
    var words = Self.options
    for forward in forwards {
      words += ["-L", Self.escaped(forward.local) + ":" + Self.escaped(forward.remote)]
    }
    words += ["--", destination, Self.remoteCommand]
    return "trap '' HUP INT QUIT TSTP; exec \(command) "
      + words.map(Self.quoted).joined(separator: " ")
  }

  /// A path as ssh's `-L` takes it, which divides at colons and expands `%`.
  static func escaped(_ path: String) -> String {
    var result = ""
    for character in path.unicodeScalars {
      switch character {
      case ":", "\\": result += "\\"
      case "%": result += "%"
      default: break
      }
      result.unicodeScalars.append(character)
    }
    return result
  }

  /// A word that a shell takes as it is.
  static func quoted(_ word: String) -> String {
    var result = "'"
    for character in word.unicodeScalars {
      if character == "'" {
        result += "'\\''"
      } else {
        result.unicodeScalars.append(character)
      }
    }
    return result + "'"
  }
}
