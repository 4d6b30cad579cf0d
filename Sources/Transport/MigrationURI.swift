// QEMU's notation for where a migration stream goes to or comes from.

/// A migration address in QEMU's notation.
public enum MigrationURI: Equatable, Sendable {
  /// `tcp:HOST:PORT`; an empty host means every address of this machine. IPv6 stands in brackets.
  case tcp(host: String, port: UInt16)
  /// `unix:PATH`
  case unix(path: String)
  /// `fd:N`: a descriptor that this process was started with.
  case descriptor(Int32)
  /// `exec:COMMAND`: the standard input and output of a shell command.
  case command(String)
  /// `file:PATH[,offset=N]`; the offset counts bytes.
  case file(path: String, offset: UInt64)

  /// Reads QEMU's notation.
  /// - Throws: ``TransportError/badURI(_:reason:)``
  public init(_ text: String) throws(TransportError) {
    guard let colon = text.firstIndex(of: ":") else {
      throw .badURI(text, reason: "it has no scheme; \(Self.schemes)")
    }
    let rest = String(text[text.index(after: colon)...])
    switch text[..<colon] {
    case "tcp": self = try Self.tcp(rest, in: text)
    case "unix":
      guard !rest.isEmpty else { throw .badURI(text, reason: "unix: needs the path of a socket") }
      try Self.checkUnixPath(rest, in: text)
      self = .unix(path: rest)
    case "fd":
      guard let number = Int32(rest), number >= 0 else {
        throw .badURI(text, reason: "fd: needs the number of an open descriptor")
      }
      self = .descriptor(number)
    case "exec":
      guard !rest.isEmpty else { throw .badURI(text, reason: "exec: needs a command") }
      self = .command(rest)
    case "file": self = try Self.file(rest, in: text)
    case "rdma", "vsock":
      throw .badURI(
        text, reason: "\(text[..<colon]): is QEMU's own and not spoken by Godwit; \(Self.schemes)")
    case "defer":
      throw .badURI(text, reason: "only QEMU's -incoming takes it; \(Self.schemes)")
    default:
      throw .badURI(text, reason: "'\(text[..<colon])' is no scheme; \(Self.schemes)")
    }
  }

  /// The longest path of a Unix socket in bytes: the kernel's structure holds 108 with its end.
  static let unixPathByteLimit = 107

  /// Refuses a path that is too long for the kernel.
  static func checkUnixPath(_ path: String, in text: String) throws(TransportError) {
    guard path.utf8.count > unixPathByteLimit else { return }
    throw .badURI(
      text,
      reason: "the path of a Unix socket has at most \(unixPathByteLimit) bytes, this one has "
        + "\(path.utf8.count)")
  }

  private static let schemes =
    "use tcp:HOST:PORT, unix:PATH, fd:N, exec:COMMAND or file:PATH[,offset=N]"

  private static func tcp(_ rest: String, in text: String) throws(TransportError) -> MigrationURI {
    guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...])
    else { throw .badURI(text, reason: "tcp: needs HOST:PORT with a port from 0 to 65535") }
    var host = String(rest[..<colon])
    if host.hasPrefix("[") && host.hasSuffix("]") {
      host = String(host.dropFirst().dropLast())
    } else if host.contains(":") {
      throw .badURI(text, reason: "an IPv6 address stands in brackets, as in tcp:[::1]:4444")
    }
    return .tcp(host: host, port: port)
  }

  private static func file(_ rest: String, in text: String) throws(TransportError) -> MigrationURI {
    guard let comma = rest.range(of: ",offset=") else {
      guard !rest.isEmpty else { throw .badURI(text, reason: "file: needs a path") }
      return .file(path: rest, offset: 0)
    }
    let path = String(rest[..<comma.lowerBound])
    guard let offset = byteCount(rest[comma.upperBound...]), !path.isEmpty else {
      throw .badURI(
        text, reason: "file: needs PATH,offset=N with N in bytes, decimal or hexadecimal (0x…)")
    }
    return .file(path: path, offset: offset)
  }

  private static func byteCount(_ digits: Substring) -> UInt64? {
    digits.hasPrefix("0x") ? UInt64(digits.dropFirst(2), radix: 16) : UInt64(digits)
  }
}

extension MigrationURI: CustomStringConvertible {
  /// QEMU's notation; reading it back gives an equal value.
  public var description: String {
    switch self {
    case .tcp(let host, let port): "tcp:\(host.contains(":") ? "[\(host)]" : host):\(port)"
    case .unix(let path): "unix:\(path)"
    case .descriptor(let number): "fd:\(number)"
    case .command(let command): "exec:\(command)"
    case .file(let path, 0): "file:\(path)"
    case .file(let path, let offset): "file:\(path),offset=\(offset)"
    }
  }
}

extension String {
  /// Where `text` last occurs. (Foundation has this; this module does without.)
  fileprivate func range(of text: String) -> Range<String.Index>? {
    var start = endIndex
    while true {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      guard start > startIndex else { return nil }
      start = index(before: start)
    }
  }
}
