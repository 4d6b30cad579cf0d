// Why a server does not carry a command out, as QMP says it: a class and a text.

import JSON

/// A command's refusal.
public struct QMPRefusal: Error, Equatable, Sendable, CustomStringConvertible {
  /// QMP's error classes; nearly everything is `genericError`, since clients read the text.
  public enum Class: String, Equatable, Sendable {
    /// Anything without a class of its own.
    case genericError = "GenericError"
    /// There is no such command, or not at this point of the conversation.
    case commandNotFound = "CommandNotFound"
    /// The machine has the device, and it is not in use.
    case deviceNotActive = "DeviceNotActive"
    /// The machine has no such device.
    case deviceNotFound = "DeviceNotFound"
    /// KVM cannot do what was asked.
    case kvmMissingCapability = "KVMMissingCap"
  }

  /// Its class.
  public var kind: Class
  /// What a person reads.
  public var description: String

  /// A refusal.
  /// - Parameters:
  ///   - description: what a person reads.
  ///   - kind: its class.
  public init(_ description: String, _ kind: Class = .genericError) {
    self.kind = kind
    self.description = description
  }

  /// The answer to the command that had `id`.
  func message(id: JSONValue?) -> QMPMessage {
    .failed(id: id, class: kind.rawValue, description: description)
  }
}
