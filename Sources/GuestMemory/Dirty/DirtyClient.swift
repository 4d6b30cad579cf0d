// Who wants to know which pages were written, each with a bitmap of its own.

/// Who follows writes to RAM.
public enum DirtyClient: Int, CaseIterable, Sendable {
  /// Moving or saving the machine.
  case migration = 0
  /// Redrawing a screen.
  case display = 1
  /// Throwing away what was derived from code.
  case code = 2
}

/// A set of dirty clients.
public struct DirtyClients: OptionSet, Hashable, Sendable {
  /// One bit a client.
  public let rawValue: UInt8

  /// The clients with these bits.
  @inlinable
  public init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  /// One client alone.
  @inlinable
  public init(_ client: DirtyClient) {
    self.init(rawValue: 1 << UInt8(client.rawValue))
  }

  /// Moving or saving the machine.
  public static let migration = DirtyClients(.migration)
  /// Redrawing a screen.
  public static let display = DirtyClients(.display)
  /// Throwing away what was derived from code.
  public static let code = DirtyClients(.code)
  /// All of them.
  public static let all: DirtyClients = [.migration, .display, .code]
}
