// WireError.swift: the one error that reading or writing QEMU's format can end in.

/// What was wrong with bytes in QEMU's migration format, and where.
///
/// Every error names the offset in the stream at which the offending item begins, what was being
/// read, what the format calls for, what was there, and what a person can do about it.
public struct WireError: Error, Hashable, Sendable {
  /// The kind of fault, for code that decides by it.
  public enum Kind: String, Hashable, Sendable {
    /// The input ended inside an item, or before the stream's end.
    case truncated
    /// The stream does not begin with QEMU's magic number.
    case notAStream
    /// The stream, a section or a feature is of a version that is not supported.
    case unsupported
    /// The configuration section does not follow the format.
    case malformedConfiguration
    /// A byte that begins no known element, or an element where it may not stand.
    case unexpectedElement
    /// A command that QEMU does not define, or one whose payload has the wrong shape.
    case malformedCommand
    /// A section continues that was never started, or starts twice.
    case unknownSection
    /// The footer of a section is missing or names another section.
    case footerMismatch
    /// The list of RAM blocks does not follow the format.
    case malformedBlockList
    /// A RAM record carries a combination of flags that does not exist.
    case illegalFlags
    /// A RAM record names a block that was not announced, or none where it must.
    case unknownBlock
    /// A RAM record lies outside its block.
    case addressOutOfBlock
    /// A compressed or delta-encoded page cannot be expanded.
    case malformedPage
    /// A dirty-bitmap section does not follow the format.
    case malformedDirtyBitmap
    /// The device state does not match its description, or its end cannot be found.
    case malformedDeviceState
    /// The description of the device state is not what QEMU writes.
    case malformedDescription
    /// A message of the return path does not follow the format.
    case malformedReturnPath
    /// Something is larger, deeper or more numerous than a named limit.
    case limitExceeded
    /// Bytes follow the end of the stream.
    case bytesAfterEnd
    /// The value that was to be encoded has no form on the wire.
    case notEncodable
  }

  /// The kind of fault.
  public let kind: Kind
  /// The byte of the stream at which the offending item begins, counted from 0.
  public let offset: UInt64
  /// What was being read or written.
  public let reading: String
  /// What the format calls for.
  public let expected: String
  /// What was there.
  public let found: String
  /// What a person can do about it.
  public let remedy: String

  /// Makes an error from its parts.
  public init(
    _ kind: Kind, at offset: UInt64, reading: String, expected: String, found: String,
    remedy: String? = nil
  ) {
    self.kind = kind
    self.offset = offset
    self.reading = reading
    self.expected = expected
    self.found = found
    self.remedy = remedy ?? kind.usualRemedy
  }
}

extension WireError: CustomStringConvertible {
  /// One or two sentences for a person.
  public var description: String {
    "Reading \(reading) at byte \(offset): expected \(expected), found \(found). \(remedy)"
  }
}

extension WireError.Kind {
  /// What to do about a fault of this kind when nothing more is known.
  fileprivate var usualRemedy: String {
    switch self {
    case .truncated:
      "The sender stopped early: look at why it did (QEMU's log or query-migrate), then send again."
    case .notAStream:
      "Give a file or connection that holds the output of QEMU's migrate command."
    case .unsupported:
      "Send again with a QEMU, machine type or capability that this version of the format covers."
    case .limitExceeded:
      "If the sender is trusted, raise the limit by the decoder's options; otherwise refuse it."
    case .bytesAfterEnd:
      "Cut the input at the end of the stream, or look at what wrote more."
    case .notEncodable:
      "Pass a value within the range that the format can carry."
    case .malformedConfiguration, .unexpectedElement, .malformedCommand, .unknownSection,
      .footerMismatch, .malformedBlockList, .illegalFlags, .unknownBlock, .addressOutOfBlock,
      .malformedPage, .malformedDirtyBitmap, .malformedDeviceState, .malformedDescription,
      .malformedReturnPath:
      "The stream is damaged or not QEMU's: take it again from the source."
    }
  }
}
