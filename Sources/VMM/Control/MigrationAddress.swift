// Where a machine goes to or comes from, in the two forms that QMP has for it: a text (`uri`) and
// an object (`channels`).

import JSON
import QMP
import Transport

/// Reading the addresses of migrations.
enum MigrationAddress {
  /// What `migrate` and `migrate-incoming` take; exactly one of the two.
  static let arguments: [QMPMember] = [
    .optional("uri", .string), .optional("channels", .list(.object(channel))),
  ]

  /// A socket's address.
  static let socketAddress = QMPObject(
    "SocketAddress",
    [
      .required(
        "type", .enumeration(QMPEnumeration("SocketAddressType", ["inet", "unix", "fd"])))
    ], tag: "type",
    variants: [
      .init("inet", [.required("host", .string), .required("port", .string)]),
      .init("unix", [.required("path", .string)]), .init("fd", [.required("str", .string)]),
    ])

  private static let channel = QMPObject(
    "MigrationChannel",
    [
      .required(
        "channel-type", .enumeration(QMPEnumeration("MigrationChannelType", ["main"]))),
      .required("addr", .object(address)),
    ])

  private static let address = QMPObject(
    "MigrationAddress",
    [
      .required(
        "transport",
        .enumeration(QMPEnumeration("MigrationAddressType", ["socket", "exec", "file"])))
    ], tag: "transport",
    variants: [
      .init("socket", socketAddress), .init("exec", [.required("args", .list(.string))]),
      .init("file", [.required("filename", .string), .required("offset", .size)]),
    ])

  /// The peer that a command names; a descriptor is taken from those of its client.
  static func peer(of call: QMPCall) throws(QMPRefusal) -> MigrationPeer {
    let channels = call["channels"]?.array ?? []
    // A list without entries is none, as for QEMU.
    switch (call["uri"]?.string, channels.first) {
    case (let uri?, nil): return try peer(uri, of: call)
    case (nil, let channel?):
      guard channels.count == 1, let address = channel["addr"] else {
        throw QMPRefusal("Channel list has more than one entries")
      }
      return try peer(uri(of: address), of: call)
    case (nil, nil), (_?, _?):
      throw QMPRefusal("need either 'uri' or 'channels' argument")
    }
  }

  private static func peer(_ uri: String, of call: QMPCall) throws(QMPRefusal) -> MigrationPeer {
    let schemes = ["tcp:", "unix:", "fd:", "exec:", "file:"]
    guard schemes.contains(where: { uri.hasPrefix($0) }) else {
      throw QMPRefusal("unknown migration protocol: \(uri)")
    }
    if uri.hasPrefix("fd:") {
      let name = String(uri.dropFirst(3))
      // A name that the client gave, never a number: those of this process are its own.
      guard let descriptor = call.descriptors.take(name) else {
        throw QMPRefusal("File descriptor named '\(name)' has not been found")
      }
      return .descriptor(descriptor, name: name)
    }
    do throws(TransportError) {
      return .address(try MigrationURI(uri))
    } catch {
      throw QMPRefusal(error.description)
    }
  }

  /// The text that means the same as an object.
  private static func uri(of address: JSONValue) throws(QMPRefusal) -> String {
    func text(_ name: String) -> String { address[name]?.string ?? "" }
    switch text("transport") {
    case "file":
      return "file:\(text("filename")),offset=\(address["offset"]?.uint64 ?? 0)"
    case "exec":
      let words = address["args"]?.array?.compactMap(\.string) ?? []
      return "exec:" + words.map(shellQuoted).joined(separator: " ")
    default: break
    }
    switch text("type") {
    case "inet":
      let host = text("host")
      return "tcp:\(host.contains(":") ? "[\(host)]" : host):\(text("port"))"
    case "unix": return "unix:\(text("path"))"
    default: return "fd:\(text("str"))"
    }
  }

  /// A word as a shell reads it back unchanged.
  private static func shellQuoted(_ word: String) -> String {
    let quoted = word.split(separator: "'", omittingEmptySubsequences: false)
      .joined(separator: "'\\''")
    return "'\(quoted)'"
  }

  /// A listening socket's address as an object; nil for what is no socket.
  static func json(of address: MigrationURI) -> JSONValue? {
    switch address {
    case .tcp(let host, let port):
      ["type": "inet", "host": .string(host), "port": .string(String(port))]
    case .unix(let path): ["type": "unix", "path": .string(path)]
    case .descriptor, .command, .file: nil
    }
  }
}
