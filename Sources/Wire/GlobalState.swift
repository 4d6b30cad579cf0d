// GlobalState.swift: the section that says whether the guest ran before it was stopped.

/// The run state of the guest just before it was stopped for the migration.
public struct GlobalState: Equatable, Sendable {
  /// The name of the section.
  public static let sectionName = "globalstate"

  /// QEMU's name for the run state (`running`, `paused`).
  ///
  /// A destination starts the guest after loading if it is `running`, and adopts any other state.
  public var runState: String
  /// The bytes after the name: flags of QEMU 8.2 and later, otherwise zero.
  private var rest: [UInt8]

  /// Where the name's field ends: the flags of later versions come after it.
  private static let nameSize = 32
  private static let fieldSize = 100

  /// The state named `runState`, at most 31 bytes.
  public init(runState: String) {
    self.runState = runState
    rest = [UInt8](repeating: 0, count: Self.fieldSize - Self.nameSize)
  }

  /// Reads the payload of the section; `nil` if it is not one.
  public init?(payload: ArraySlice<UInt8>) {
    guard payload.count == WireSize.globalState else { return nil }
    let field = payload.dropFirst(4)
    let name = field.prefix(Self.nameSize).prefix { $0 != 0 }
    guard let text = String(validating: name, as: UTF8.self) else { return nil }
    runState = text
    rest = Array(field.dropFirst(Self.nameSize))
  }

  /// The payload of the section.
  /// - Throws: `WireError` of kind `notEncodable` if the name is too long.
  public func payload() throws(WireError) -> [UInt8] {
    let name = Array(runState.utf8)
    guard name.count < Self.nameSize else {
      throw WireError(
        .notEncodable, at: 0, reading: "a run state",
        expected: "a name of at most \(Self.nameSize - 1) bytes", found: "\(name.count)")
    }
    var result: [UInt8] = []
    result.append(bigEndian: UInt32(name.count + 1))
    result += name
    result += [UInt8](repeating: 0, count: Self.nameSize - name.count)
    return result + rest
  }
}

extension DeviceState {
  /// The run state that the sections carry, or `nil` where they have none that can be read.
  public func globalState() throws(WireError) -> GlobalState? {
    for section in try sections() where section.header.name == GlobalState.sectionName {
      return GlobalState(payload: section.payload)
    }
    return nil
  }

  /// The same device state with another run state; unchanged where it carries none.
  ///
  /// Nothing but the one payload changes, and nothing moves.
  public func replacing(_ state: GlobalState) throws(WireError) -> DeviceState {
    var result = self
    for section in try sections() where section.header.name == GlobalState.sectionName {
      guard section.payload.count == WireSize.globalState else { continue }
      result.bytes.replaceSubrange(section.payload.indices, with: try state.payload())
    }
    return result
  }
}
