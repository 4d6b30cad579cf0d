// VMStateError.swift: the one error that saving or loading a machine's state can end in.

/// What was wrong with a device's state, in which device, and where.
///
/// Every error names the device, its instance, the field's path within it and, where bytes were
/// read, the offset; what was expected, what was found, and what a person can do about it.
public struct VMStateError: Error, Hashable, Sendable {
  /// What was being done.
  public enum Action: String, Hashable, Sendable {
    /// Making bytes of a device's state.
    case saving
    /// Making a device's state of bytes.
    case loading
    /// Putting a state that was read whole into its device.
    case applying
    /// Putting a device into the list of those that are saved.
    case registering
  }

  /// The kind of fault, for code that decides by it.
  public enum Kind: String, Hashable, Sendable {
    /// The section ended inside a field.
    case truncated
    /// The section goes on behind its last field.
    case bytesAfterEnd
    /// The section, or a part of it, is of a version that this build does not read.
    case unsupportedVersion
    /// A field's value is none that the field can have, or does not fit the others.
    case invalidValue
    /// A field that has to be as in this machine is not.
    case differentMachine
    /// An array is longer than its limit.
    case limitExceeded
    /// A subsection that this build does not know, or the same one twice.
    case unexpectedSubsection
    /// A section of a device that this machine does not have, or the same one twice.
    case unexpectedSection
    /// A device of this machine has no section.
    case missingSection
    /// The sections cannot be told from one another.
    case malformedState
    /// A device says that it cannot be saved.
    case unmigratable
    /// A value has no form on the wire.
    case notEncodable
    /// A device refused what it was to save, load or take over.
    case refused
  }

  /// The kind of fault.
  public let kind: Kind
  /// What was being done.
  public let action: Action
  /// The name of the device's section; empty where the fault is in no single device.
  public let device: String
  /// Which of several devices of that name.
  public let instance: UInt32
  /// The names from the device down to the field, joined by dots; empty for the whole section.
  public let field: String
  /// The byte of the device's section, counted from the payload's first.
  ///
  /// `nil` where no bytes were being read.
  public let offset: Int?
  /// What was called for.
  public let expected: String
  /// What was there.
  public let found: String
  /// What a person can do about it.
  public let remedy: String

  /// Makes an error from its parts.
  public init(
    _ kind: Kind, _ action: Action, device: String, instance: UInt32 = 0, field: String = "",
    offset: Int? = nil, expected: String, found: String, remedy: String? = nil
  ) {
    self.kind = kind
    self.action = action
    self.device = device
    self.instance = instance
    self.field = field
    self.offset = offset
    self.expected = expected
    self.found = found
    self.remedy = remedy ?? kind.usualRemedy
  }
}

extension VMStateError: CustomStringConvertible {
  /// One or two sentences for a person.
  public var description: String {
    "\(subject): expected \(expected), found \(found). \(remedy)"
  }

  private var subject: String {
    let verb =
      switch action {
      case .saving: "Saving"
      case .loading: "Loading"
      case .applying: "Putting back"
      case .registering: "Listing"
      }
    guard !device.isEmpty else { return "\(verb) the machine's state" }
    let part = field.isEmpty ? "" : "field \(field) of "
    let place = offset.map { " at byte \($0) of its section" } ?? ""
    return "\(verb) \(part)device \(device), instance \(instance),\(place)"
      .trimmingLast(",")
  }
}

extension String {
  /// The text without `suffix`, if it ends so.
  fileprivate func trimmingLast(_ suffix: String) -> String {
    hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
  }
}

extension VMStateError.Kind {
  /// What to do about a fault of this kind when nothing more is known.
  fileprivate var usualRemedy: String {
    switch self {
    case .truncated, .bytesAfterEnd, .malformedState, .limitExceeded:
      "The state is damaged or of another program: save the machine again at its source."
    case .invalidValue:
      "The state is damaged, or its source has a fault: save the machine again."
    case .unsupportedVersion, .unexpectedSubsection:
      "Load it with the build that saved it, or a later one."
    case .differentMachine, .unexpectedSection, .missingSection:
      "Start the machine with the devices and sizes of the one that was saved."
    case .unmigratable:
      "Remove the device, or leave the machine where it is."
    case .notEncodable:
      "This is a fault of the program: please report it with this message."
    case .refused:
      "Look at the reason; a machine that was not taken over whole must not run."
    }
  }
}
