// Changing a QEMU's migration settings for a while, and putting back exactly what was changed.

public import JSON

/// A capability that a move needs on or off.
public struct CapabilityRequirement: Equatable, Sendable {
  /// QEMU's name of it, such as `postcopy-ram`.
  public var name: String
  /// Whether it must be on.
  public var isOn: Bool
  /// What for; completes "which Godwit needs to".
  public var purpose: String

  /// A requirement.
  public init(_ name: String, _ isOn: Bool, to purpose: String) {
    self.name = name
    self.isOn = isOn
    self.purpose = purpose
  }
}

/// A parameter that a move needs at a value.
public struct ParameterRequirement: Equatable, Sendable {
  /// QEMU's name of it, such as `max-bandwidth`.
  public var name: String
  /// Its value, in QEMU's unit.
  public var value: JSONValue
  /// What for; completes "which Godwit needs to".
  public var purpose: String

  /// A requirement.
  public init(_ name: String, _ value: JSONValue, to purpose: String) {
    self.name = name
    self.value = value
    self.purpose = purpose
  }
}

/// The migration settings of one QEMU: as they were, and what was changed since.
///
/// QEMU refuses changes of capabilities while a migration is under way, so ``putBack()`` belongs
/// after its end, whichever end that was.
public actor MigrationSettings {
  private let client: QMPClient
  /// Capabilities as they were when this was read.
  public let capabilities: [String: Bool]
  /// Parameters as they were when this was read, in QEMU's order.
  public let parameters: [JSONMember]
  private var changes: [Change] = []

  private enum Change {
    case capability(String)
    case parameter(String)

    var name: String {
      switch self {
      case .capability(let name), .parameter(let name): name
      }
    }
  }

  private init(_ client: QMPClient, _ capabilities: [String: Bool], _ parameters: [JSONMember]) {
    self.client = client
    self.capabilities = capabilities
    self.parameters = parameters
  }

  /// Reads the settings as they are.
  public static func read(from client: QMPClient) async throws(QMPError) -> MigrationSettings {
    let capabilities = try await client.migrationCapabilities()
    return MigrationSettings(client, capabilities, try await client.migrationParameters())
  }

  /// The names of what is changed at present, in the order of the changes.
  public var changed: [String] { changes.map(\.name) }

  /// The settings that are changed at present, as they were: what would put them back.
  public var originals: (capabilities: [String: Bool], parameters: [JSONMember]) {
    let names = changed
    return (
      capabilities.filter { names.contains($0.key) },
      parameters.filter { names.contains($0.name) }
    )
  }

  /// Brings the settings to what a move needs, changing only what differs.
  ///
  /// Capabilities are set in one command, since they depend on and exclude each other. Where QEMU
  /// refuses that, they are tried one by one to learn which is to blame, those to be off first; the
  /// ones before it stay changed then: call ``putBack()``.
  /// - Throws: ``QMPError``: `settingRefused` with QEMU's words and the purpose, `unsupported`
  ///   where this QEMU does not know the setting.
  public func apply(
    _ capabilities: [CapabilityRequirement], _ parameters: [ParameterRequirement] = []
  ) async throws(QMPError) {
    var needed: [CapabilityRequirement] = []
    for requirement in capabilities where try isNeeded(requirement) { needed.append(requirement) }
    if try await !applyTogether(needed) {
      for requirement in needed where !requirement.isOn { try await apply(requirement) }
      for requirement in needed where requirement.isOn { try await apply(requirement) }
    }
    for requirement in parameters { try await apply(requirement) }
  }

  /// Puts back what was changed and nothing else, parameters first.
  ///
  /// What cannot be put back does not keep the rest from it, and stays listed in ``changed``, so
  /// that this can be called again.
  /// - Throws: ``QMPError/notPutBack(settings:description:)``
  public func putBack() async throws(QMPError) {
    if try await !putBackTogether() { try await putBackOneByOne() }
  }

  // MARK: - Capabilities

  private func isNeeded(_ requirement: CapabilityRequirement) throws(QMPError) -> Bool {
    let name = requirement.name
    guard let original = capabilities[name] else {
      // What a QEMU does not know is off.
      if !requirement.isOn { return false }
      throw .unsupported(
        setting: name, version: "\(client.version)", purpose: requirement.purpose)
    }
    return original != requirement.isOn || changes.contains { $0.name == name }
  }

  /// Sets all of them, or none and answers false where QEMU refuses.
  private func applyTogether(_ needed: [CapabilityRequirement]) async throws(QMPError) -> Bool {
    guard !needed.isEmpty else { return true }
    let states = Dictionary(needed.map { ($0.name, $0.isOn) }) { _, last in last }
    do throws(QMPError) {
      try await client.setMigrationCapabilities(states)
    } catch .refused {
      return false
    }
    for requirement in needed { note(.capability(requirement.name)) }
    return true
  }

  private func apply(_ requirement: CapabilityRequirement) async throws(QMPError) {
    let name = requirement.name
    do throws(QMPError) {
      try await client.setMigrationCapabilities([name: requirement.isOn])
    } catch .refused(_, _, let description) {
      throw .settingRefused(setting: name, purpose: requirement.purpose, description: description)
    }
    note(.capability(name))
  }

  // MARK: - Parameters

  private func apply(_ requirement: ParameterRequirement) async throws(QMPError) {
    let name = requirement.name
    guard let original = parameters.first(where: { $0.name == name })?.value else {
      throw .unsupported(
        setting: name, version: "\(client.version)", purpose: requirement.purpose)
    }
    let isChanged = changes.contains { $0.name == name }
    guard original != requirement.value || isChanged else { return }
    do throws(QMPError) {
      try await client.setMigrationParameters([JSONMember(name, requirement.value)])
    } catch .refused(_, _, let description) {
      throw .settingRefused(setting: name, purpose: requirement.purpose, description: description)
    }
    note(.parameter(name))
  }

  // MARK: - Putting back

  private func note(_ change: Change) {
    if !changes.contains(where: { $0.name == change.name }) { changes.append(change) }
  }

  /// Puts everything back in at most two commands; false where QEMU refuses one of them.
  private func putBackTogether() async throws(QMPError) -> Bool {
    let originals = changes.compactMap { change -> JSONMember? in
      guard case .parameter(let name) = change else { return nil }
      return parameters.first { $0.name == name }
    }
    let names = changes.compactMap { change -> String? in
      guard case .capability(let name) = change else { return nil }
      return name
    }
    do throws(QMPError) {
      if !originals.isEmpty { try await client.setMigrationParameters(originals) }
      let states = capabilities.filter { names.contains($0.key) }
      if !states.isEmpty { try await client.setMigrationCapabilities(states) }
    } catch .refused {
      return false
    } catch {
      throw .notPutBack(settings: changed, description: error.description)
    }
    changes = []
    return true
  }

  private func putBackOneByOne() async throws(QMPError) {
    var left: [Change] = []
    var failure: QMPError?
    for change in changes.reversed() {
      do throws(QMPError) {
        try await undo(change)
      } catch {
        left.insert(change, at: 0)
        failure = failure ?? error
      }
    }
    changes = left
    guard let failure else { return }
    throw .notPutBack(settings: left.map(\.name), description: failure.description)
  }

  private func undo(_ change: Change) async throws(QMPError) {
    switch change {
    case .capability(let name):
      guard let state = capabilities[name] else { return }
      try await client.setMigrationCapabilities([name: state])
    case .parameter(let name):
      guard let original = parameters.first(where: { $0.name == name }) else { return }
      try await client.setMigrationParameters([original])
    }
  }
}
