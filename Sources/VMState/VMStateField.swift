// VMStateField.swift: one field of a description: what it writes, what it reads, and when.

internal import Wire

/// Names what a structure of a stream's description, found at a path, has and this build lacks.
typealias VMStateComparing = @Sendable (VMDescription.Structure, String) -> [String]

/// One entry of a device's description: a place in `State` and its form on the wire.
///
/// Fields are made by the functions whose names are the encodings (`.uint32("ier", \.ier)`), and
/// limited to certain versions or states by `since`, `until` and `when`.
public struct VMStateField<State: Sendable>: Sendable {
  /// Where in the state a field's value is.
  public typealias Path<Value> = any WritableKeyPath<State, Value> & Sendable

  typealias Saving = @Sendable (State, inout VMStateWriter) throws(VMStateError) -> Void
  typealias Loading = @Sendable (inout State, inout VMStateReader) throws(VMStateError) -> Void

  /// The names under which it shows in descriptions.
  let names: [String]
  let save: Saving
  let load: Loading
  let compare: VMStateComparing?
  private var firstVersion = Int.min
  private var endVersion = Int.max
  private var condition: (@Sendable (State) -> Bool)?

  init(
    _ names: [String], compare: VMStateComparing? = nil, save: @escaping Saving,
    load: @escaping Loading
  ) {
    self.names = names
    self.compare = compare
    self.save = save
    self.load = load
  }

  /// Whether it stands in a structure of that version and state.
  func isPresent(in state: State, version: Int) -> Bool {
    version >= firstVersion && version < endVersion && condition?(state) ?? true
  }

  /// The field, present from `version` of its description on.
  ///
  /// Loading an older state leaves the value as the device's blank state has it.
  public func since(_ version: Int) -> Self {
    var result = self
    result.firstVersion = version
    return result
  }

  /// The field, present up to the version before `version`, and no longer written since.
  public func until(_ version: Int) -> Self {
    var result = self
    result.endVersion = version
    return result
  }

  /// The field, present only where `condition` holds.
  ///
  /// The condition may depend on fields that stand before this one alone: on loading, the later
  /// ones are as in the blank state.
  public func when(_ condition: @escaping @Sendable (State) -> Bool) -> Self {
    var result = self
    result.condition = condition
    return result
  }
}
