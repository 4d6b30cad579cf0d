// VMStateSection.swift: what the registry asks of whatever has state.

public import Wire

/// Something with a section of its own in a machine's state: a device, a processor.
///
/// `VMStateDevice` is the one that devices use. Calls come from one thread at a time, with the
/// machine paused and its devices quiet.
public protocol VMStateSection: Sendable {
  /// The section's name, at most 255 bytes.
  var name: String { get }
  /// Which of several sections of that name.
  var instance: UInt32 { get }
  /// The version that is written.
  var version: Int { get }
  /// Where in the machine's order the section stands.
  var priority: VMStatePriority { get }
  /// Whether a machine's state may lack the section.
  var mayBeAbsent: Bool { get }
  /// Why the machine cannot be saved with this, if it cannot.
  var unmigratableReason: String? { get }

  /// The section's bytes, or `nil` if it is not needed now.
  func save() throws(VMStateError) -> VMStateSaved?

  /// Reads a whole section without touching the device.
  ///
  /// - Parameters:
  ///   - payload: the section without header and footer.
  ///   - version: the version that the section's header says.
  ///   - layout: what the stream's description says of the section, if it says anything.
  func prepare(
    _ payload: ArraySlice<UInt8>, version: Int, layout: VMDescription.Structure?
  ) throws(VMStateError) -> VMStatePending
}

/// A section that was written.
public struct VMStateSaved: Equatable, Sendable {
  /// The section without header and footer.
  public var payload: [UInt8]
  /// The layout of the payload, as the stream's description tells it.
  public var layout: VMDescription.Structure

  /// Pairs bytes with their layout.
  public init(payload: [UInt8], layout: VMDescription.Structure) {
    self.payload = payload
    self.layout = layout
  }
}

/// A section that was read whole and waits to be taken over.
public struct VMStatePending: Sendable {
  private let body: @Sendable () throws(VMStateError) -> Void

  /// Waits with `body`, which gives the device its state.
  public init(_ body: @escaping @Sendable () throws(VMStateError) -> Void) { self.body = body }

  /// Gives the device its state.
  public func apply() throws(VMStateError) { try body() }
}
