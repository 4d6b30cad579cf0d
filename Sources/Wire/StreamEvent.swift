// StreamEvent.swift: what a decoder tells of a stream, apart from its pages.

/// Something that a stream said, in the order in which it said it.
public enum StreamEvent: Equatable, Sendable {
  /// The magic number and the version were right.
  case header
  /// The configuration section, whole.
  case configuration(StreamConfiguration)
  /// A command, with its blob if it has one.
  case command(VMCommand)
  /// A section that is sent in parts begins.
  case sectionStart(SectionHeader)
  /// A further part of the section `id`.
  case sectionPart(id: UInt32)
  /// The last part of the section `id`.
  case sectionEnd(id: UInt32)
  /// The RAM blocks that the stream is about, in the sender's order.
  case ramBlocks([RAMBlockDescription])
  /// A point at which multifd channels meet; of no effect on one channel.
  case multifdFlush
  /// The part of the RAM section ended, its footer included.
  case ramEndOfSection
  /// One chunk of a dirty-bitmap section; the chunk flagged last ends the part.
  case dirtyBitmapChunk(DirtyBitmapChunk)
  /// The payload of a part whose layout this module does not know, without header and footer.
  case opaqueSection(id: UInt32, payload: [UInt8])
  /// FULL sections that precede the end of the RAM, verbatim.
  case earlyDeviceState([UInt8])
  /// All FULL sections that follow the iterable ones, once their end is known.
  case deviceState(DeviceState)
  /// The element that ends the stream's sections.
  case endOfStream
  /// The description of the device state: JSON, verbatim.
  case vmDescription([UInt8])
}
