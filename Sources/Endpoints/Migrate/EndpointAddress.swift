// Where an endpoint's monitor is: a socket of this host, or one of a host that ssh leads to.

import QMP

/// The address of an endpoint's monitor, as a person writes it.
public enum EndpointAddress: Sendable, Equatable {
  /// On this host, in the notation of ``QMPClient/connect(to:timeout:)``.
  case local(String)
  /// On another host.
  case remote(RemoteSocket)

  /// Reads it as scp does: what has a colon before any slash is on another host.
  ///
  /// QEMU's notations (`unix:`, `tcp:`, `fd:`) and `HOST:PORT` are of this host.
  /// - Throws: ``MoveError`` where it can be neither.
  public init(_ text: String) throws(MoveError) {
    let socket = try RemoteSocket(text)
    self = socket.map(Self.remote) ?? .local(text)
  }

  /// The socket, where it is on another host.
  var remote: RemoteSocket? {
    guard case .remote(let socket) = self else { return nil }
    return socket
  }
}

extension EndpointAddress: CustomStringConvertible {
  /// As it was written.
  public var description: String {
    switch self {
    case .local(let text): text
    case .remote(let socket): socket.text
    }
  }
}

/// A Unix socket of another host.
public struct RemoteSocket: Sendable, Equatable {
  /// As it was written: `[user@]host:/path`.
  public let text: String
  /// The user and the host, as ssh takes them.
  public let destination: String
  /// The socket's path there.
  public let path: String

  /// Beside a monitor's socket: where it waits for a machine, and for the rest of one.
  static let moving = ".move"
  static let recovering = ".recover"

  /// The longest path in bytes: with what is put behind it, it still has to fit a socket's address.
  static let pathByteLimit = 107 - recovering.utf8.count

  /// Reads `[user@]host:/path`; nil for what is of this host.
  init?(_ text: String) throws(MoveError) {
    guard let (place, path) = Self.parts(of: text) else { return nil }
    var host = place
    if let at = place.lastIndex(of: "@") {
      guard at > place.startIndex else { throw Self.refusal(text, "there is no user before the @") }
      host = place[place.index(after: at)...]
    }
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    let bare = isBracketed ? host.dropFirst().dropLast() : host
    guard !bare.isEmpty else {
      throw Self.refusal(
        text, "there is no host before the colon (an IPv6 address stands in brackets)")
    }
    guard !bare.hasPrefix("-"), !place.hasPrefix("-") else {
      throw Self.refusal(text, "no user or host begins with '-', as options of ssh do")
    }
    guard !path.hasPrefix("//") || place != "ssh" else {
      throw Self.refusal(text, "it is no URL but written as for scp")
    }
    try Self.check(path, of: text)
    self.text = text
    destination = String(place.dropLast(host.count)) + bare
    self.path = String(path)
  }

  /// What is before the colon that tells host from path, and behind it; nil without one.
  private static func parts(of text: String) -> (place: Substring, path: Substring)? {
    guard !["unix:", "tcp:", "fd:"].contains(where: text.hasPrefix) else { return nil }
    var isInBrackets = false
    for index in text.indices {
      switch text[index] {
      case "[": isInBrackets = true
      case "]": isInBrackets = false
      case "/": return nil
      case ":" where !isInBrackets:
        let path = text[text.index(after: index)...]
        let isPort = UInt16(path) != nil && !text[..<index].contains("@")
        return isPort ? nil : (text[..<index], path)
      default: break
      }
    }
    return nil
  }

  private static func check(_ path: Substring, of text: String) throws(MoveError) {
    guard path.hasPrefix("/") else {
      throw refusal(
        text,
        "the path on the other host has to begin with '/' (and a socket of this host whose "
          + "name has a colon is written as ./NAME; an IPv6 address stands in brackets)")
    }
    guard path.utf8.count <= pathByteLimit else {
      throw refusal(
        text,
        "the path may have \(pathByteLimit) bytes at most, with which the sockets beside it "
          + "fit; it has \(path.utf8.count)")
    }
    // ssh puts a variable's value in its place, and knows no way to say that it is none.
    guard !path.contains("${") else { throw refusal(text, "ssh takes no path that has '${' in it") }
  }

  private static func refusal(_ text: String, _ reason: String) -> MoveError {
    MoveError(
      .refused,
      "'\(text)' is no address of a monitor on another host: \(reason). Write it as "
        + "[user@]host:/path/of/qmp.sock.")
  }
}
