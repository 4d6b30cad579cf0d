// VMStateDescription+Coding.swift: a whole section made of a state, and a state made of one.

public import Wire

extension VMStateDescription {
  /// The bytes of a state and their layout, or `nil` if the state does not need them.
  ///
  /// - Parameters:
  ///   - device: the section's name, for errors.
  ///   - instance: which of several sections of that name, for errors.
  /// - Throws: `VMStateError` if a value has no form on the wire, or a hook refuses.
  public func encode(
    _ state: State, device: String? = nil, instance: UInt32 = 0
  ) throws(VMStateError) -> VMStateSaved? {
    let place = VMStatePlace(action: .saving, device: device ?? name, instance: instance)
    if let unmigratable {
      throw place.error(
        .unmigratable, expected: "a device that can be saved", found: unmigratable)
    }
    guard isNeeded(state) else { return nil }
    var writer = VMStateWriter(place)
    let layout = try write(state, &writer, version: version)
    return VMStateSaved(payload: writer.bytes, layout: layout)
  }

  /// The state that a whole section says, made of `blank`, which says what the section does not.
  ///
  /// - Parameters:
  ///   - version: the version that the section's header says.
  ///   - layout: what the stream's description says of the section; names in errors only.
  ///   - device: the section's name, for errors.
  ///   - instance: which of several sections of that name, for errors.
  /// - Throws: `VMStateError`, with the place.
  public func decode(
    _ payload: ArraySlice<UInt8>, version: Int, layout: VMDescription.Structure? = nil,
    into blank: State, device: String? = nil, instance: UInt32 = 0
  ) throws(VMStateError) -> State {
    let place = VMStatePlace(action: .loading, device: device ?? name, instance: instance)
    guard (minimumVersion...self.version).contains(version) else {
      let unknown = version > self.version ? layout.map { unknownParts(of: $0) } ?? [] : []
      throw place.error(
        .unsupportedVersion, field: unknown.first ?? "", expected: readableVersions,
        found: "version \(version)" + Self.listing(unknown))
    }
    var reader = VMStateReader(payload, version: version, place)
    var state = blank
    try read(&state, &reader)
    guard reader.remaining == 0 else {
      throw reader.error(
        .bytesAfterEnd, expected: "the end of the section",
        found: "\(reader.remaining) more bytes")
    }
    return state
  }

  private static func listing(_ unknown: [String]) -> String {
    guard !unknown.isEmpty else { return "" }
    let listed = unknown.prefix(VMStateFormat.listedNameCount).joined(separator: ", ")
    let rest = unknown.count - VMStateFormat.listedNameCount
    return " with \(listed)" + (rest > 0 ? " and \(rest) more" : "") + ", unknown here"
  }
}
