// Reencoder.swift: a visitor that writes down again what it was told.

package import Wire

/// Encodes each event and page as it comes.
///
/// What comes out is what went in, for a stream whose sender names a block only where it has to and
/// compresses nothing.
package struct Reencoder: StreamVisitor {
  package var encoder: StreamEncoder
  private var section: UInt32 = 0

  package init(targetPageSize: Int, usesFooters: Bool = true) {
    encoder = StreamEncoder(targetPageSize: targetPageSize, usesFooters: usesFooters)
  }

  package mutating func visit(_ event: StreamEvent) throws {
    switch event {
    case .header: encoder.appendHeader()
    case .configuration(let configuration): try encoder.append(configuration)
    case .command(let command):
      if case .packaged = command { encoder.forgetNamedBlock() }
      try encoder.append(command)
    case .sectionStart(let header):
      section = header.id
      try encoder.appendSectionStart(header)
    case .sectionPart(let id):
      section = id
      encoder.appendSectionPart(id: id)
    case .sectionEnd(let id):
      section = id
      encoder.appendSectionEnd(id: id)
    case .ramBlocks(let blocks): try encoder.appendRAMSetup(blocks)
    case .multifdFlush: encoder.appendMultifdFlush()
    case .ramEndOfSection:
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: section)
    case .dirtyBitmapChunk(let chunk):
      try encoder.append(chunk)
      if chunk.endsSection { encoder.appendFooter(id: section) }
    case .opaqueSection(let id, let payload):
      encoder.append(verbatim: payload)
      encoder.appendFooter(id: id)
    case .earlyDeviceState(let bytes): encoder.append(verbatim: bytes)
    case .deviceState(let state): encoder.append(verbatim: state.bytes)
    case .endOfStream: encoder.appendEndOfStream()
    case .vmDescription(let json): encoder.appendDescription(json)
    }
  }

  package mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
    try encoder.appendPage(page, content: content)
  }

  package mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
    try encoder.appendZeroPage(page, fill: fill)
  }

  package mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
    try encoder.appendDelta(page, xbzrle: xbzrle)
  }

  package mutating func visitPageHash(_ page: RAMPageAddress, digest: RawSpan) throws {
    try encoder.appendPageHash(page, digest: digest)
  }
}
