// The messages of machine and pager as bytes: a kind, then its values. Docs/Pager.md has the table.

internal import MigrationCore
internal import Wire

extension PagerMessage {
  /// The kinds by their numbers on the link.
  enum Kind: UInt16 {
    case hello = 1
    case memory = 2
    case record = 3
    case faults = 4
    case resume = 5
    case link = 6
    case linkOutput = 7
    case breakLink = 8
    case cancel = 9
    case answer = 10
    case call = 11
    case status = 12
    case outcome = 13
    case preempt = 14
  }

  /// The kind and the values.
  func encoded() -> (kind: Kind, payload: [UInt8]) {
    var writer = PagerWriter()
    let kind: Kind
    switch self {
    case .hello(let version):
      kind = .hello
      writer.add(version)
    case .memory(let notice):
      kind = .memory
      writer.add(notice.name)
      writer.add(notice.byteCount)
      writer.add(notice.pageSize)
      writer.add(notice.hostAddress)
    case .record: kind = .record
    case .faults(let threads):
      kind = .faults
      writer.add(list: threads) { $0.add(UInt32(bitPattern: $1)) }
    case .resume(let recovery, let order):
      kind = .resume
      writer.add(recovery)
      writer.add(list: order) { $0.add($1) }
    case .link(let number, let peer, let isReadOnly):
      kind = .link
      writer.add(number)
      writer.add(peer)
      writer.add(isReadOnly)
    case .linkOutput: kind = .linkOutput
    case .preempt(let link, let peer):
      kind = .preempt
      writer.add(link)
      writer.add(peer)
    case .breakLink: kind = .breakLink
    case .cancel: kind = .cancel
    case .answer(let number, let answer):
      kind = .answer
      writer.add(number)
      writer.add(answer)
    case .call(let number, let call):
      kind = .call
      writer.add(number)
      writer.add(call)
    case .status(let status):
      kind = .status
      writer.add(status.rawValue)
    case .outcome(let link, let outcome):
      kind = .outcome
      writer.add(link)
      writer.add(outcome)
    }
    return (kind, writer.bytes)
  }

  /// Reads a message; throws what is wrong with it.
  init(kind: UInt16, payload: [UInt8]) throws(PagerError) {
    guard let known = Kind(rawValue: kind) else {
      throw .protocolViolation("a message is of the unknown kind \(kind)")
    }
    var reader = PagerReader(payload)
    switch known {
    case .hello: self = .hello(version: try reader.number())
    case .memory:
      self = .memory(
        MemoryNotice(
          name: try reader.text(), byteCount: try reader.number(), pageSize: try reader.number(),
          hostAddress: try reader.number()))
    case .record: self = .record
    case .faults:
      self = .faults(
        threads: try reader.list { (reader) throws(PagerError) in
          Int32(bitPattern: try reader.number(UInt32.self))
        })
    case .resume:
      let recovery = try reader.recovery()
      self = .resume(recovery, order: try reader.order())
    case .link:
      self = .link(
        number: try reader.number(), peer: try reader.text(), isReadOnly: try reader.flag())
    case .linkOutput: self = .linkOutput
    case .preempt: self = .preempt(link: try reader.number(), peer: try reader.text())
    case .breakLink: self = .breakLink
    case .cancel: self = .cancel
    case .answer: self = .answer(call: try reader.number(), try reader.answer())
    case .call: self = .call(try reader.number(), try reader.call())
    case .status:
      let word = try reader.text()
      guard let status = MigrationStatus(rawValue: word) else {
        throw .protocolViolation("there is no state '\(word)'")
      }
      self = .status(status)
    case .outcome: self = .outcome(link: try reader.number(), try reader.outcome())
    }
    try reader.end()
  }
}

extension PagerWriter {
  fileprivate mutating func add(_ block: RAMBlockDescription) {
    add(block.name)
    add(block.usedLength)
    add(optional: block.pageSize) { $0.add($1) }
    add(optional: block.guestAddress) { $0.add($1) }
  }

  fileprivate mutating func add(_ recovery: StreamDecoder.Recovery) {
    add(recovery.ramSectionID)
    add(UInt32(recovery.targetPageSize))
    add(recovery.usesFooters)
    add(list: recovery.blocks) { $0.add($1) }
  }

  fileprivate mutating func add(_ state: DeviceState) {
    add(state.bytes)
    add(optional: state.description) { $0.add($1) }
    add(state.usesFooters)
  }

  fileprivate mutating func add(_ configuration: StreamConfiguration) {
    add(configuration.machine)
    add(optional: configuration.targetPageBits) { $0.add($1) }
    add(optional: configuration.capabilities) { $0.add(list: $1) { $0.add($1) } }
    add(optional: configuration.uuid) { $0.add($1) }
  }

  fileprivate mutating func add(_ answer: PagerAnswer) {
    switch answer {
    case .done(let order):
      add(UInt8(0))
      add(list: order) { $0.add($1) }
    case .refused(let sentence):
      add(UInt8(1))
      add(sentence)
    }
  }

  fileprivate mutating func add(_ call: PagerCall) {
    switch call {
    case .prepare(let configuration, let blocks):
      add(UInt8(0))
      add(configuration)
      add(list: blocks) { $0.add($1) }
    case .takeDeviceState(let state):
      add(UInt8(1))
      add(state)
    case .complete: add(UInt8(2))
    case .beginServing(let recovery):
      add(UInt8(3))
      add(recovery)
    case .load(let state):
      add(UInt8(4))
      add(state)
    case .run: add(UInt8(5))
    case .endServing: add(UInt8(6))
    }
  }

  fileprivate mutating func add(_ outcome: PagerOutcome) {
    switch outcome {
    case .completed: add(UInt8(0))
    case .interrupted(let sentence):
      add(UInt8(1))
      add(sentence)
    case .failed(let sentence):
      add(UInt8(2))
      add(sentence)
    }
  }
}

extension PagerReader {
  fileprivate mutating func order() throws(PagerError) -> [UInt32] {
    try list { (reader) throws(PagerError) in try reader.number() }
  }

  fileprivate mutating func block() throws(PagerError) -> RAMBlockDescription {
    RAMBlockDescription(
      name: try text(), usedLength: try number(),
      pageSize: try optional { (reader) throws(PagerError) in try reader.number() },
      guestAddress: try optional { (reader) throws(PagerError) in try reader.number() })
  }

  fileprivate mutating func blocks() throws(PagerError) -> [RAMBlockDescription] {
    try list { (reader) throws(PagerError) in try reader.block() }
  }

  fileprivate mutating func recovery() throws(PagerError) -> StreamDecoder.Recovery {
    let section: UInt32 = try number()
    let pageSize = Int(try number(UInt32.self))
    let usesFooters = try flag()
    return StreamDecoder.Recovery(
      ramSectionID: section, blocks: try blocks(), targetPageSize: pageSize,
      usesFooters: usesFooters)
  }

  fileprivate mutating func state() throws(PagerError) -> DeviceState {
    DeviceState(
      bytes: try data(),
      description: try optional { (reader) throws(PagerError) in try reader.data() },
      usesFooters: try flag())
  }

  fileprivate mutating func configuration() throws(PagerError) -> StreamConfiguration {
    StreamConfiguration(
      machine: try text(),
      targetPageBits: try optional { (reader) throws(PagerError) in try reader.number() },
      capabilities: try optional { (reader) throws(PagerError) in
        try reader.list { (reader) throws(PagerError) in try reader.text() }
      },
      uuid: try optional { (reader) throws(PagerError) in try reader.data() })
  }

  fileprivate mutating func answer() throws(PagerError) -> PagerAnswer {
    switch try number(UInt8.self) {
    case 0: return .done(try order())
    case 1: return .refused(try text())
    case let other: throw .protocolViolation("there is no answer \(other)")
    }
  }

  fileprivate mutating func call() throws(PagerError) -> PagerCall {
    switch try number(UInt8.self) {
    case 0: return .prepare(try configuration(), try blocks())
    case 1: return .takeDeviceState(try state())
    case 2: return .complete
    case 3: return .beginServing(try recovery())
    case 4: return .load(try state())
    case 5: return .run
    case 6: return .endServing
    case let other: throw .protocolViolation("there is no call \(other)")
    }
  }

  fileprivate mutating func outcome() throws(PagerError) -> PagerOutcome {
    switch try number(UInt8.self) {
    case 0: return .completed
    case 1: return .interrupted(try text())
    case 2: return .failed(try text())
    case let other: throw .protocolViolation("there is no outcome \(other)")
    }
  }
}
