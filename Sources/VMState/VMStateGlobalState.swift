// VMStateGlobalState.swift: the section that says whether the guest ran before it was stopped.

internal import Wire

/// The run state of a machine, as the section that QEMU writes for it.
public enum VMStateGlobalState {
  struct State: Sendable {
    var size: UInt32 = 0
    var field = [UInt8](repeating: 0, count: fieldSize)
  }

  /// The room for the name and what later versions put behind it, in bytes.
  static let fieldSize = 100
  /// The room for the name and the zero behind it.
  static let nameSize = 32

  static let description = VMStateDescription<State>(
    name: GlobalState.sectionName, version: 1, priority: .last,
    fields: [
      .uint32("size", \.size),
      .validate("the name of a run state of at most 31 bytes and a zero") {
        (1...UInt32(nameSize)).contains($0.size)
      },
      .buffer("runstate", \.field, count: fieldSize),
      .validate("a name of a run state") { runState($0) != nil },
    ])

  /// The section of the machine's run state.
  ///
  /// - Parameters:
  ///   - current: QEMU's name for the state before the machine was stopped for saving
  ///     (`running`, `paused`), at most 31 bytes.
  ///   - adopt: what to do with the name on loading: a machine that was `running` is to run.
  public static func section(
    current: @escaping @Sendable () -> String, adopt: @escaping @Sendable (String) -> Void
  ) -> any VMStateSection {
    VMStateDevice(
      description, blank: { State() }, capture: { state(current()) },
      apply: { adopt(runState($0) ?? "") })
  }

  private static func state(_ name: String) -> State {
    var field = Array(name.utf8.prefix(fieldSize))
    field += [UInt8](repeating: 0, count: fieldSize - field.count)
    return State(size: UInt32(name.utf8.count + 1), field: field)
  }

  private static func runState(_ state: State) -> String? {
    let name = state.field.prefix(nameSize).prefix { $0 != 0 }
    guard !name.isEmpty, name.count < nameSize else { return nil }
    return String(validating: name, as: UTF8.self)
  }
}
