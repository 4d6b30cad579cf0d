// The model's reader of headers, sections and commands.

import Wire

extension QEMUDestinationModel {
  func step() throws {
    switch phase {
    case .magic:
      guard try take(8) == [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3] else {
        throw Violation("the stream does not begin with QEVM 3")
      }
      phase = .configuration
    case .configuration:
      guard try byte() == 7 else { throw Violation("no configuration section") }
      _ = try take(Int(try integer(4)))
      while try take(1) == [5] {
        let name = try text()
        guard name == "configuration/target-page-bits", try integer(4) == 1,
          try integer(4) == UInt64(machine.targetPageSize.trailingZeroBitCount)
        else { throw Violation("an unknown part of the configuration: \(name)") }
      }
      position -= 1
      phase = .element
    case .element: try element()
    case .setup: try setup()
    case .items(let isEnd): try item(isEnd: isEnd)
    case .footer(let isEnd):
      guard try byte() == 0x7e, try integer(4) == UInt64(ramSectionID ?? 0) else {
        throw Violation("a footer that does not match its section")
      }
      phase = .element
      if isEnd { sawEnd = true }
    case .description:
      guard try byte() == 6 else { throw Violation("no description after the end") }
      _ = try take(Int(try integer(4)))
      try complete()
    case .finished:
      throw Violation("bytes after the end of the stream")
    }
  }

  private func element() throws {
    let type = try byte()
    switch type {
    case 0:
      if state == .running || state == .listening {
        isEndReached = true
        try completeIfWhole()
      } else {
        phase = .description
      }
    case 1:
      let id = UInt32(try integer(4))
      guard try text() == "ram", try integer(4) == 0, try integer(4) == 4 else {
        throw Violation("a section that this machine does not have")
      }
      guard ramSectionID == nil else { throw Violation("the RAM section starts twice") }
      ramSectionID = id
      phase = .setup
    case 2, 3:
      guard UInt32(try integer(4)) == (ramSectionID ?? machine.ramSectionID) else {
        throw Violation("a part of a section that did not start")
      }
      if state == .recovering { throw Violation("pages before the recovery was agreed on") }
      phase = .items(isEnd: type == 3)
    case 4:
      position -= 1
      let bytes = machine.deviceState.bytes
      guard try take(bytes.count) == bytes else { throw Violation("damaged device state") }
      guard state == .incoming else { throw Violation("device state outside the package") }
    case 8: try command()
    default: throw Violation("an element of type \(type)")
    }
  }

  private func setup() throws {
    let total = try integer(8)
    guard total & 0x3ff == 4 else { throw Violation("a RAM section without a list of blocks") }
    var sum: UInt64 = 0
    var index = 0
    while sum < total & ~0x3ff {
      guard index < machine.blocks.count, try text() == machine.blocks[index].name else {
        throw Violation("an unknown block")
      }
      let length = try integer(8)
      guard length == machine.blocks[index].usedLength else { throw Violation("Size mismatch") }
      if wasAdvised, let size = machine.blocks[index].pageSize {
        guard try integer(8) == size else { throw Violation("a wrong page size") }
      }
      sum += length
      index += 1
    }
    guard index == machine.blocks.count else { throw Violation("blocks are missing") }
    phase = .items(isEnd: false)
  }

  private func command() throws {
    let number = try integer(2)
    let length = Int(try integer(2))
    let payload = try take(length)
    switch (number, length) {
    case (1, 0): hasReturnPath = true
    case (2, 4): reply(2, payload)
    case (3, 16): try advise(payload)
    case (6, _): try discard(payload)
    case (7, 4): try package(try take(Int(Self.integer(payload[...]))))
    case (9, 0):
      guard state == .recovering else { return }
      reply(6, [0, 0, 0, 1])
      state = .running
      waiting.removeAll { memory[$0.block][$0.page] != nil }
      for page in waiting { request(page.block, page.page) }
      onRun()
    case (10, _): try sendBitmap(String(decoding: payload.dropFirst(), as: UTF8.self))
    default: throw Violation("command \(number) of \(length) bytes")
    }
  }

  private func advise(_ payload: [UInt8]) throws {
    let summary = machine.blocks.indices.reduce(UInt64(0)) { $0 | UInt64(machine.hostPageSize($1)) }
    guard hasPostcopy, !wasAdvised, ramSectionID == nil,
      Self.integer(payload[..<8]) == summary,
      Self.integer(payload[8...]) == UInt64(machine.targetPageSize)
    else { throw Violation("an advice that does not fit the destination") }
    wasAdvised = true
  }

  private func discard(_ payload: [UInt8]) throws {
    guard state == .incoming, wasAdvised, payload.count >= 20, payload[0] == 0 else {
      throw Violation("a discard where none can be")
    }
    let nameEnd = 2 + Int(payload[1])
    let name = String(decoding: payload[2..<nameEnd], as: UTF8.self)
    guard payload[nameEnd] == 0, let block = machine.blocks.firstIndex(where: { $0.name == name })
    else { throw Violation("a discard of an unknown block") }
    var rest = payload[(nameEnd + 1)...]
    guard !rest.isEmpty, rest.count % 16 == 0, rest.count / 16 <= 12 else {
      throw Violation("a malformed discard")
    }
    let size = UInt64(machine.hostPageSize(block))
    while !rest.isEmpty {
      let start = Self.integer(rest.prefix(8))
      let length = Self.integer(rest.dropFirst(8).prefix(8))
      rest = rest.dropFirst(16)
      guard start % size == 0, length % size == 0, length > 0,
        start + length <= machine.blocks[block].usedLength
      else { throw Violation("a discard that is not of whole pages of the block") }
      for page in Int(start / size)..<Int((start + length) / size) {
        memory[block][page] = nil
        discarded[block].insert(page)
      }
    }
  }

  private func package(_ blob: [UInt8]) throws {
    let devices = machine.deviceState.bytes
    let expected: [UInt8] =
      [8, 0, 4, 0, 0] + devices + [8, 0, 2, 0, 4, 0, 0, 0, 3] + [8, 0, 5, 0, 0]
    guard blob == expected else { throw Violation("a package that is not LISTEN, devices, RUN") }
    guard state == .incoming, wasAdvised, hasReturnPath else {
      throw Violation("a package where none can be")
    }
    for block in memory.indices {
      for page in memory[block].indices {
        guard (memory[block][page] != nil) != discarded[block].contains(page) else {
          throw Violation("page \(page) of block \(block) is neither there nor discarded, or both")
        }
      }
    }
    state = .listening
    namedBlock = nil
    continueLoading()
  }

  /// Loads the devices as far as the memory they touch is there, and runs the guest then.
  func continueLoading() {
    guard state == .listening else { return }
    while let touched = loadTouches.first {
      guard memory[touched.block][touched.page] != nil else {
        if !waiting.contains(where: { $0 == touched }) {
          waiting.append(touched)
          request(touched.block, touched.page)
        }
        return
      }
      loadTouches.removeFirst()
    }
    reply(2, [0, 0, 0, 3])
    state = .running
    hasRun = true
    onRun()
  }

  /// Ends a postcopy once nothing is missing; what is may come over the channel of requested pages.
  func completeIfWhole() throws {
    if takesPreempt, state == .listening || memory.joined().contains(where: { $0 == nil }) {
      return
    }
    try complete()
  }

  private func complete() throws {
    switch state {
    case .incoming:
      guard phase == .description, sawEnd else {
        throw Violation("an end without an end of memory")
      }
    case .running:
      guard sawEnd else { throw Violation("an end without an end of memory") }
      if let missing = memory.joined().firstIndex(where: { $0 == nil }) {
        throw Violation("the stream ended with pages missing (the first is number \(missing))")
      }
    default: throw Violation("an end of the stream while \(state)")
    }
    state = .completed
    hasRun = true
    phase = .finished
    if hasReturnPath { reply(1, [0, 0, 0, 0]) }
  }

  private func sendBitmap(_ name: String) throws {
    guard state == .recovering, let block = machine.blocks.firstIndex(where: { $0.name == name })
    else { throw Violation("a question for a bitmap where none can be") }
    reply(5, [UInt8(name.utf8.count)] + Array(name.utf8))
    let perPage = machine.hostPageSize(block) / machine.targetPageSize
    let pages = memory[block].count * perPage
    var bits = [UInt8](repeating: 0, count: (pages + 63) / 64 * 8)
    for page in 0..<pages where memory[block][page / perPage] != nil {
      bits[page / 8] |= 1 << UInt8(page % 8)
    }
    output += Self.bigEndian(UInt64(bits.count), 8) + bits
    output += Self.bigEndian(0x0123_4567_89ab_cdef, 8)
  }

  // MARK: Return path

  func reply(_ type: UInt64, _ payload: [UInt8]) {
    guard hasReturnPath else { return }
    output += Self.bigEndian(type, 2) + Self.bigEndian(UInt64(payload.count), 2) + payload
  }

  func request(_ block: Int, _ page: Int) {
    unaskedAtRequest[RAMPageAddress(blockIndex: block, offset: UInt64(page))] = unaskedCount
    let size = machine.hostPageSize(block)
    let range =
      Self.bigEndian(UInt64(page * size), 8) + Self.bigEndian(UInt64(size), 4)
    if lastRequestedBlock == block {
      reply(4, range)
    } else {
      let name = Array(machine.blocks[block].name.utf8)
      reply(3, range + [UInt8(name.count)] + name)
      lastRequestedBlock = block
    }
  }

  // MARK: Bytes

  func take(_ count: Int) throws -> [UInt8] {
    guard input.count - position >= count else { throw NeedsMore() }
    defer { position += count }
    return Array(input[position..<position + count])
  }

  func byte() throws -> UInt8 { try take(1)[0] }

  func integer(_ size: Int) throws -> UInt64 { Self.integer(try take(size)[...]) }

  func text() throws -> String { String(decoding: try take(Int(try byte())), as: UTF8.self) }

  static func integer(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  static func bigEndian(_ value: UInt64, _ size: Int) -> [UInt8] {
    (0..<size).reversed().map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }
}
