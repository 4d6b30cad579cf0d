// SectionHeader.swift: what begins an element of a stream, and the header of a section.

/// The byte that begins an element of a stream.
enum ElementType: UInt8 {
  case endOfStream = 0x00
  case sectionStart = 0x01
  case sectionPart = 0x02
  case sectionEnd = 0x03
  case sectionFull = 0x04
  case subsection = 0x05
  case description = 0x06
  case configuration = 0x07
  case command = 0x08
  case footer = 0x7e
}

/// The header of a START or FULL section.
public struct SectionHeader: Equatable, Hashable, Sendable {
  /// The sender's number for the section; arbitrary, and repeated by its parts and its footer.
  public var id: UInt32
  /// The device's name, at most 255 bytes of UTF-8 (`ram`, `0000:00:02.0/vga`).
  public var name: String
  /// Which of several devices of that name.
  public var instanceID: UInt32
  /// The version of the payload's layout.
  public var versionID: UInt32

  /// Describes a section.
  public init(id: UInt32, name: String, instanceID: UInt32, versionID: UInt32) {
    self.id = id
    self.name = name
    self.instanceID = instanceID
    self.versionID = versionID
  }

  /// The section of the guest's RAM as every QEMU since 2.0 sends it.
  public static func ram(id: UInt32) -> SectionHeader {
    SectionHeader(id: id, name: "ram", instanceID: 0, versionID: 4)
  }
}
