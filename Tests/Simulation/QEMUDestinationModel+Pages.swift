// The model's reader of RAM records, and its placing of host pages.

import Wire

extension QEMUDestinationModel {
  /// Reads a record of a section, or one of the channel of requested pages, where `isEnd` is nil.
  func item(isEnd: Bool?) throws {
    let word = try integer(8)
    let flags = word & 0x3ff
    let offset = word & ~0x3ff
    if flags == 0x10 {
      guard offset == 0 else { throw Violation("an end of section with an address") }
      guard gathering == nil else { throw Violation("a section ends inside a host page") }
      guard let isEnd else { throw Violation("a section ends where there is none") }
      phase = .footer(isEnd: isEnd)
      return
    }
    guard flags & ~0x20 == 2 || flags & ~0x20 == 8 else {
      throw Violation("a RAM record with flags \(flags)")
    }
    var block = namedBlock
    if flags & 0x20 == 0 {
      let name = try text()
      block = machine.blocks.firstIndex { $0.name == name }
    }
    guard let block, offset < machine.blocks[block].usedLength else {
      throw Violation("a record of no block, or outside of it")
    }
    var content = [UInt8](repeating: 0, count: machine.targetPageSize)
    if flags & 2 != 0 {
      guard try byte() == 0 else { throw Violation("a page filled with something else than zero") }
    } else {
      content = try take(machine.targetPageSize)
    }
    namedBlock = block
    try place(content, block, Int(offset))
  }

  /// Gathers target pages until a host page is whole.
  private func place(_ content: [UInt8], _ block: Int, _ offset: Int) throws {
    let size = machine.hostPageSize(block)
    let page = offset / size
    if wasAdvised {
      if gathering == nil {
        guard offset % size == 0 else { throw Violation("a host page that does not begin so") }
        gathering = (block, page, [])
      }
      guard let part = gathering, part.block == block, part.page == page,
        offset == page * size + part.bytes.count
      else { throw Violation("target pages of several host pages mixed") }
      gathering?.bytes += content
      guard let whole = gathering, whole.bytes.count == size else { return }
      gathering = nil
      try placeHostPage(whole.bytes, block, page)
    } else {
      if memory[block][page] == nil { memory[block][page] = [UInt8](repeating: 0, count: size) }
      let start = offset % size
      memory[block][page]?.replaceSubrange(start..<start + content.count, with: content)
    }
  }

  private func placeHostPage(_ bytes: [UInt8], _ block: Int, _ page: Int) throws {
    if state == .running || state == .listening {
      guard memory[block][page] == nil else {
        throw Violation("page \(page) of block \(block) was sent twice: EEXIST")
      }
    }
    memory[block][page] = bytes
    guard let index = waiting.firstIndex(where: { $0 == (block, page) }) else {
      unaskedCount += 1
      return
    }
    waiting.remove(at: index)
    let key = RAMPageAddress(blockIndex: block, offset: UInt64(page))
    if let limit = unaskedLimit, let before = unaskedAtRequest[key] {
      let others = unaskedCount - before
      guard others <= limit else {
        throw Violation("\(others) pages that nobody waited for came before a requested one")
      }
    }
    if state == .listening { continueLoading() }
    onPlaced(block, page)
  }
}
