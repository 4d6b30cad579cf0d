// VMStateDevice.swift: a description tied to the device whose state it describes.

public import Wire

/// The section of one device: its description, and how its state is taken and given back.
///
/// ```swift
/// var vmstate: any VMStateSection {
///   VMStateDevice(
///     Self.description, blank: { State() }, capture: { self.state.withLock { $0 } },
///     apply: { new in self.state.withLock { $0 = new } })
/// }
/// ```
public struct VMStateDevice<State: Sendable>: VMStateSection {
  /// The section's name, at most 255 bytes.
  public let name: String
  /// Which of several sections of that name.
  public let instance: UInt32
  /// The description of the state.
  public let description: VMStateDescription<State>
  private let blank: @Sendable () throws -> State
  private let capture: @Sendable () throws -> State
  private let check: @Sendable (State) throws -> Void
  private let give: @Sendable (State) throws -> Void
  private let blocker: @Sendable () -> String?

  /// Ties a description to a device.
  ///
  /// - Parameters:
  ///   - name: the section's name; the description's if `nil`.
  ///   - instance: which of several sections of that name.
  ///   - blank: a state as after reset, with the sizes and properties of this very device; what
  ///     an older section does not say stays so. What `capture` gives, if `nil`.
  ///   - capture: a copy of the device's state.
  ///   - check: refuses, by an error, a state that was read and does not suit this device or host.
  ///   - apply: gives the device a state. It runs only when all of the machine's sections were
  ///     read; if it fails the machine must not run.
  ///   - unmigratable: why the device cannot be saved just now, if it cannot.
  public init(
    _ description: VMStateDescription<State>, name: String? = nil, instance: UInt32 = 0,
    blank: (@Sendable () throws -> State)? = nil,
    capture: @escaping @Sendable () throws -> State,
    check: @escaping @Sendable (State) throws -> Void = { _ in },
    apply: @escaping @Sendable (State) throws -> Void,
    unmigratable: @escaping @Sendable () -> String? = { nil }
  ) {
    self.description = description
    self.name = name ?? description.name
    self.instance = instance
    self.blank = blank ?? capture
    self.capture = capture
    self.check = check
    give = apply
    blocker = unmigratable
  }

  /// The version that is written.
  public var version: Int { description.version }
  /// Where in the machine's order the section stands.
  public var priority: VMStatePriority { description.priority }
  /// Whether a machine's state may lack the section.
  public var mayBeAbsent: Bool { description.needed != nil }
  /// Why the machine cannot be saved with this, if it cannot.
  public var unmigratableReason: String? { description.unmigratable ?? blocker() }

  /// The section's bytes, or `nil` if it is not needed now.
  public func save() throws(VMStateError) -> VMStateSaved? {
    let state: State
    do { state = try capture() } catch {
      throw place(.saving).refusal(error, of: "the device's state")
    }
    return try description.encode(state, device: name, instance: instance)
  }

  /// Reads a whole section without touching the device.
  public func prepare(
    _ payload: ArraySlice<UInt8>, version: Int, layout: VMDescription.Structure?
  ) throws(VMStateError) -> VMStatePending {
    let start: State
    do { start = try blank() } catch {
      throw place(.loading).refusal(error, of: "the device's blank state")
    }
    let state = try description.decode(
      payload, version: version, layout: layout, into: start, device: name, instance: instance)
    do { try check(state) } catch {
      throw place(.loading).refusal(error, of: "a state that suits this machine")
    }
    return VMStatePending { () throws(VMStateError) in
      do { try give(state) } catch {
        throw place(.applying).refusal(error, of: "the device to take its state")
      }
    }
  }

  private func place(_ action: VMStateError.Action) -> VMStatePlace {
    VMStatePlace(action: action, device: name, instance: instance)
  }
}
