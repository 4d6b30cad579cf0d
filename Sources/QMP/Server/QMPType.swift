// The shapes of what commands take and answer, as data: from them come the checking of arguments,
// the schema that clients ask for, and the documentation.

import JSON

/// The shape of a value in QMP.
public indirect enum QMPType: Sendable, Equatable {
  /// A text.
  case string
  /// `true` or `false`.
  case boolean
  /// A whole number that fits the integer.
  case integer(QMPInteger)
  /// Any number.
  case number
  /// `null`, alone.
  case null
  /// Any value.
  case any
  /// A list.
  case list(QMPType)
  /// One of some words.
  case enumeration(QMPEnumeration)
  /// Named values.
  case object(QMPObject)
  /// One of several kinds, told apart by the JSON value's own kind.
  case alternate(name: String, [QMPType])

  /// A whole number from 0 to 2^64 - 1, as sizes and addresses are.
  public static let size = QMPType.integer(.uint64)
  /// A whole number of 64 bits with a sign.
  public static let int = QMPType.integer(.int64)
  /// What commands answer that have nothing to say.
  public static let nothing = QMPType.object(QMPObject("Empty", []))
}

/// The widths of whole numbers; the schema calls them all `int`.
public enum QMPInteger: String, Sendable, Equatable {
  /// 0 to 255.
  case uint8 = "uint8_t"
  /// 0 to 65535.
  case uint16 = "uint16_t"
  /// 0 to 2^32 - 1.
  case uint32 = "uint32_t"
  /// 0 to 2^64 - 1.
  case uint64 = "uint64_t"
  /// -2^63 to 2^63 - 1.
  case int64 = "int64_t"
}

/// A set of words.
public struct QMPEnumeration: Sendable, Equatable {
  /// What the documentation calls it.
  public let name: String
  /// The words.
  public let words: [String]

  /// A set of words.
  public init(_ name: String, _ words: [String]) {
    self.name = name
    self.words = words
  }
}

/// A set of named values.
public struct QMPObject: Sendable, Equatable {
  /// What the documentation calls it.
  public let name: String
  /// Its members, each name once.
  public let members: [QMPMember]
  /// The member, an enumeration, whose word decides which further members there are; nil where
  /// none does.
  public let tag: String?
  /// The further members for each word of the tag; a word that is not here has none.
  public let variants: [Variant]

  /// What one word of a tag adds.
  public struct Variant: Sendable, Equatable {
    /// The word.
    public let word: String
    /// What it adds, which may have a tag of its own.
    public let object: QMPObject

    /// What `word` adds.
    public init(_ word: String, _ object: QMPObject) {
      self.word = word
      self.object = object
    }

    /// What `word` adds.
    public init(_ word: String, _ members: [QMPMember]) {
      self.init(word, QMPObject(word, members))
    }
  }

  /// A set of named values.
  /// - Parameters:
  ///   - name: what the documentation calls it.
  ///   - members: what it always has.
  ///   - tag: the member that decides what else it has.
  ///   - variants: what that is.
  public init(
    _ name: String, _ members: [QMPMember], tag: String? = nil, variants: [Variant] = []
  ) {
    self.name = name
    self.members = members
    self.tag = tag
    self.variants = variants
  }

  /// The members that a value with these words has.
  func members(of value: JSONValue) -> [QMPMember] {
    guard let tag, let word = value[tag]?.string,
      let variant = variants.first(where: { $0.word == word })
    else { return members }
    return members + variant.object.members(of: value)
  }
}

/// One named value.
public struct QMPMember: Sendable, Equatable {
  /// Its name.
  public let name: String
  /// Its shape.
  public let type: QMPType
  /// Whether it may be left out.
  public let isOptional: Bool

  private init(_ name: String, _ type: QMPType, isOptional: Bool) {
    self.name = name
    self.type = type
    self.isOptional = isOptional
  }

  /// A value that must be given.
  public static func required(_ name: String, _ type: QMPType) -> QMPMember {
    QMPMember(name, type, isOptional: false)
  }

  /// A value that may be left out.
  public static func optional(_ name: String, _ type: QMPType) -> QMPMember {
    QMPMember(name, type, isOptional: true)
  }
}
