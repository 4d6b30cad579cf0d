// VMStateRegistry.swift: all sections of one machine: saved together, loaded together.

public import Wire

/// The sections of a machine.
///
/// A value: build it when the machine is built, and use it with the machine paused.
public struct VMStateRegistry: Sendable {
  /// The sections, in the order in which they are saved and applied.
  public private(set) var sections: [any VMStateSection] = []
  /// The size of a target page in bytes, which descriptions tell.
  private let pageSize: UInt64

  /// A machine without sections.
  public init(pageSize: UInt64 = 4096) { self.pageSize = pageSize }

  /// Adds a section behind those of the same or a higher priority.
  ///
  /// - Throws: `VMStateError` if there is one of that name and instance.
  public mutating func add(_ section: any VMStateSection) throws(VMStateError) {
    guard find(section.name, section.instance) == nil else {
      throw VMStateError(
        .unexpectedSection, .registering, device: section.name, instance: section.instance,
        expected: "a name and instance that no other device has", found: "one that has them",
        remedy: "Give each device of a kind an instance of its own.")
    }
    let place = sections.firstIndex { $0.priority < section.priority } ?? sections.endIndex
    sections.insert(section, at: place)
  }

  /// Takes a section out, if it is in: its device was removed.
  public mutating func remove(name: String, instance: UInt32) {
    sections.removeAll { $0.name == name && $0.instance == instance }
  }

  /// Why the machine cannot be saved: `device: reason`, one for each device that says so.
  public var unmigratableReasons: [String] {
    sections.compactMap { section in
      section.unmigratableReason.map { "\(section.name): \($0)" }
    }
  }

  /// The whole machine's state: its sections in order, and their description.
  ///
  /// - Parameter firstID: the number that the first section gets; the others count on from it. It
  ///   has to be beyond the numbers of the stream's other sections.
  /// - Throws: `VMStateError`, of kind `unmigratable` if a device says that it cannot be saved.
  public func save(firstID: UInt32 = 16) throws(VMStateError) -> DeviceState {
    for section in sections {
      guard let reason = section.unmigratableReason else { continue }
      throw VMStateError(
        .unmigratable, .saving, device: section.name, instance: section.instance,
        expected: "a device that can be saved", found: reason)
    }
    var encoder = StreamEncoder()
    var devices: [VMDescription.Device] = []
    for section in sections {
      guard let saved = try section.save() else { continue }
      let header = SectionHeader(
        id: firstID + UInt32(devices.count), name: section.name, instanceID: section.instance,
        versionID: UInt32(section.version))
      do {
        try encoder.appendFullSection(header, payload: saved.payload)
      } catch {
        throw Self.malformed(error, .saving)
      }
      devices.append(
        VMDescription.Device(
          name: section.name, instanceID: section.instance, layout: saved.layout))
    }
    let description = VMDescription(pageSize: pageSize, devices: devices)
    return DeviceState(bytes: encoder.buffer, description: description.encoded())
  }

  /// Gives all devices the state that was saved, or none of them.
  ///
  /// Guest memory has to be in place: devices look into it. Should a device fail to take a state
  /// that it had found good, which only the host can cause, the machine must not run.
  public func load(_ state: DeviceState) throws(VMStateError) { try prepare(state).apply() }

  /// Reads a whole machine's state without touching any device.
  ///
  /// - Throws: `VMStateError` naming the device: a section that is damaged, of a version that this
  ///   build does not read, of a device that is not here; or a device without its section.
  public func prepare(_ state: DeviceState) throws(VMStateError) -> VMStatePending {
    let stored: [DeviceSection]
    do { stored = try state.sections() } catch {
      throw Self.malformed(error, .loading)
    }
    var pending = [VMStatePending?](repeating: nil, count: sections.count)
    for part in stored {
      let header = part.header
      guard let index = find(header.name, header.instanceID) else {
        throw VMStateError(
          .unexpectedSection, .loading, device: header.name, instance: header.instanceID,
          expected: "a device of this machine", found: "none of that name and instance")
      }
      guard pending[index] == nil else {
        throw VMStateError(
          .unexpectedSection, .loading, device: header.name, instance: header.instanceID,
          expected: "one section for each device", found: "a second one")
      }
      pending[index] = try sections[index].prepare(
        part.payload, version: Int(header.versionID), layout: part.layout)
    }
    for (index, section) in sections.enumerated()
    where pending[index] == nil && !section.mayBeAbsent {
      throw VMStateError(
        .missingSection, .loading, device: section.name, instance: section.instance,
        expected: "its section", found: "a machine's state without it")
    }
    let all = pending.compactMap { $0 }
    return VMStatePending { () throws(VMStateError) in
      for part in all { try part.apply() }
    }
  }

  private func find(_ name: String, _ instance: UInt32) -> Int? {
    sections.firstIndex { $0.name == name && $0.instance == instance }
  }

  private static func malformed(
    _ error: WireError, _ action: VMStateError.Action
  ) -> VMStateError {
    VMStateError(
      .malformedState, action, device: "", offset: Int(clamping: error.offset),
      expected: "sections that can be told from one another",
      found: "a fault (\(error.description.dropLast()))")
  }
}
