// What a precopy source sends in which order.

import MigrationCore
import Testing
import Wire

@Suite struct `The source of an eager restore` {
  private let blocks = [
    RAMBlockDescription(name: "pc.ram", usedLength: 5 << 12),
    RAMBlockDescription(name: "shared", usedLength: 8 << 12),
    RAMBlockDescription(name: "bios", usedLength: 1 << 12),
  ]

  private func instructions(_ source: inout PrecopySource) -> [SourceInstruction] {
    var all: [SourceInstruction] = []
    while true {
      let next = source.next()
      all.append(next)
      if next == .wait || next == .finish { return all }
    }
  }

  @Test func `the stream, element by element`() {
    var source = PrecopySource(
      blocks: blocks, omittedBlocks: [1], usesReturnPath: false, rangeByteCount: 2 << 12)
    let expected: [SourceInstruction] = [
      .write([.header, .configuration, .ramSetup]),
      .range(blockIndex: 0, 0..<8192), .range(blockIndex: 0, 8192..<16384),
      .range(blockIndex: 0, 16384..<20480), .range(blockIndex: 2, 0..<4096),
      .write([.ramEnd, .deviceState, .endOfStream, .description]), .finish,
    ]
    #expect(instructions(&source) == expected)
    #expect(source.phase == .finished(.completed))
    #expect(source.destinationRunState == .unknown)
  }

  @Test func `with a return path it waits for the destination's word`() throws {
    var source = PrecopySource(blocks: blocks, usesReturnPath: true)
    #expect(
      source.next()
        == .write([.header, .configuration, .openReturnPath, .ping(1), .ramSetup]))
    #expect(instructions(&source).last == .wait)
    try source.receive(.pong(1))
    #expect(source.next() == .wait)
    try source.receive(.shut(status: 0))
    #expect(source.next() == .finish)
    #expect(source.destinationRunState == .running)
  }

  @Test func `a destination that failed did not run`() throws {
    var source = PrecopySource(blocks: blocks, usesReturnPath: true)
    _ = instructions(&source)
    #expect(source.destinationRunState == .unknown)
    try source.receive(.shut(status: 1))
    #expect(source.phase == .finished(.destinationFailed(code: 1)))
    #expect(source.destinationRunState == .notStarted)
  }

  @Test(arguments: [
    ReturnPathMessage.shut(status: 0), .requestPages(block: "pc.ram", start: 0, length: 4096),
    .resumeAcknowledge(1),
  ])
  func `what has no place there is refused`(message: ReturnPathMessage) {
    var source = PrecopySource(blocks: blocks, usesReturnPath: true)
    _ = source.next()
    #expect(throws: ProtocolViolation.self) { try source.receive(message) }
  }
}
