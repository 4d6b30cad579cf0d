// Reading, writing and ending channels of every kind.

import Glibc
import Synchronization
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct ByteChannelTests {
  @Test func `what is written at one end is read at the other, then the end`() throws {
    let (first, second) = try ByteChannel.pair()
    try first.write([1, 2, 3])
    try first.shutdownWrite()
    try first.shutdownWrite()
    #expect(try second.readAll() == [1, 2, 3])
    #expect(try second.read(atMost: 1).isEmpty)
    try second.write([4])
    #expect(try first.read(atMost: 9) == [4])
  }

  @Test func `pieces arrive in order, however many and however large`() throws {
    let (first, second) = try ByteChannel.pair()
    let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
    let reader = Collector(second)
    try bytes.withUnsafeBytes { memory in
      // More pieces than one call takes, some of them empty.
      var pieces: [UnsafeRawBufferPointer] = []
      var start = 0
      for index in 0..<3000 {
        let end = min(start + index % 201, memory.count)
        pieces.append(UnsafeRawBufferPointer(rebasing: memory[start..<end]))
        start = end
      }
      pieces.append(UnsafeRawBufferPointer(rebasing: memory[start...]))
      try first.write(gathering: pieces)
    }
    try first.shutdownWrite()
    #expect(reader.bytes() == bytes)
  }

  @Test func `spans are written and read in place`() throws {
    let (first, second) = try ByteChannel.pair()
    let bytes: [UInt8] = [5, 6, 7]
    try first.write(bytes.span.bytes)
    var room = [UInt8](repeating: 0, count: 8)
    let count = try room.withUnsafeMutableBytes { memory in
      try second.read(into: UnsafeMutableRawBufferPointer(rebasing: memory[2...]))
    }
    #expect(count == 3 && room == [0, 0, 5, 6, 7, 0, 0, 0])
    try first.write([9])
    var words: [UInt64] = [0]
    var span = words.mutableSpan
    var raw = span.mutableBytes
    #expect(try second.read(into: &raw) == 1)
    #expect(words == [9])
  }

  @Test func `another thread ends a blocked read`() throws {
    let (first, second) = try ByteChannel.pair()
    let outcome = Outcome()
    let reader = try NamedThread(name: "reader") {
      outcome.note { () throws(TransportError) in _ = try first.read(atMost: 10) }
    }
    usleep(20_000)
    first.shutdownBoth()
    reader.join()
    #expect(outcome.error == .cancelled(action: "Reading from the second end"))
    #expect(first.isCancelled)
    #expect(throws: TransportError.cancelled(action: "Reading from the second end")) {
      try first.read(atMost: 1)
    }
    #expect(throws: TransportError.cancelled(action: "Writing to the second end")) {
      try first.write([1])
    }
    #expect(try second.read(atMost: 1).isEmpty)
  }

  @Test func `another thread ends a blocked write`() throws {
    let (first, second) = try ByteChannel.pair()
    let outcome = Outcome()
    let writer = try NamedThread(name: "writer") {
      outcome.note { () throws(TransportError) in
        try first.write([UInt8](repeating: 1, count: 8 << 20))
      }
    }
    // However busy the machine is, the writer gets to fill the socket in the end.
    while first.unsentByteCount() == 0 { usleep(1000) }
    first.shutdownBoth()
    writer.join()
    #expect(outcome.error == .cancelled(action: "Writing to the second end"))
    withExtendedLifetime(second) {}
  }

  @Test(arguments: [false, true]) func `a write at once takes what there is room for`(
    isPipe: Bool
  ) throws {
    let (first, second): (ByteChannel, ByteChannel)
    if isPipe {
      first = try ByteChannel.connect(to: MigrationURI("exec:cat"))
      second = first
    } else {
      (first, second) = try ByteChannel.pair()
    }
    let bytes = (0..<4 << 20).map { UInt8(truncatingIfNeeded: $0 >> 8) }
    var count = try first.writeAtOnce(bytes)
    #expect(count > 0 && count < bytes.count)
    var received: [UInt8] = []
    while received.count < bytes.count {
      received += try second.read(atMost: 1 << 20)
      if count < bytes.count { count += try first.writeAtOnce(bytes, from: count) }
    }
    #expect(received == bytes)
    first.shutdownBoth()
    #expect(throws: TransportError.self) { try first.writeAtOnce(bytes) }
  }

  @Test func `writing to a peer that has gone is an error and no signal`() throws {
    let (first, second) = try ByteChannel.pair()
    second.shutdownBoth()
    #expect(throws: TransportError.peerGone(action: "Writing to the second end")) {
      while true { try first.write([1]) }
    }
  }

  @Test func `writing after the end of the stream is refused`() throws {
    let (first, _) = try ByteChannel.pair()
    try first.shutdownWrite()
    #expect(throws: TransportError.writingEnded(peer: "the second end")) { try first.write([1]) }
  }

  @Test func `sockets tell what is unsent, pipes do not`() throws {
    let (first, second) = try ByteChannel.pair()
    #expect(first.unsentByteCount() == 0)
    try first.write([1, 2, 3])
    #expect((first.unsentByteCount() ?? 0) >= 3)
    _ = try second.read(atMost: 3)
    #expect(first.unsentByteCount() == 0)
    try first.setSendBuffer(byteCount: 64 << 10)
    #expect(first.sendBufferByteCount() == 128 << 10)
    let pipe = try ByteChannel.connect(to: MigrationURI("exec:true"))
    #expect(pipe.unsentByteCount() == nil && pipe.sendBufferByteCount() == nil)
    #expect(!pipe.isSocket && first.isSocket)
  }

  @Test(arguments: ["127.0.0.1", "localhost"])
  func `little waits for a reader on the same host`(_ host: String) throws {
    let listener = try Listener(.tcp(host: host, port: 0))
    let channel = try ByteChannel.connect(to: listener.address)
    let room = try #require(channel.sendBufferByteCount())
    // Twice what was asked for, unless the kernel allows less.
    #expect(room <= 512 << 10)
    // A buffer that adjusts itself grows as more is written and acknowledged.
    let peer = try listener.accept()
    for _ in 0..<64 {
      try channel.write([UInt8](repeating: 1, count: 64 << 10))
      var left = 64 << 10
      while left > 0 { left -= try peer.read(atMost: left).count }
    }
    #expect(channel.sendBufferByteCount() == room)
  }

  @Test func `a wait for bytes ends by them, by the deadline, or by the end`() throws {
    let (first, second) = try ByteChannel.pair()
    #expect(try !first.waitForBytes(until: .now + .milliseconds(20)))
    try second.write([1])
    #expect(try first.waitForBytes(until: .now + .seconds(10)))
    _ = try first.read(atMost: 1)
    second.shutdownBoth()
    #expect(try first.waitForBytes(until: .now + .seconds(10)))
    first.shutdownBoth()
    #expect(throws: TransportError.self) { try first.waitForBytes(until: .now) }
  }

  @Test func `a descriptor travels with bytes`() throws {
    let (first, second) = try ByteChannel.pair()
    var inner = try SocketPair()
    let kept = try ByteChannel(adopting: inner.take(), peer: "the traveller")
    let traveller = inner.take()
    try first.write([1, 2], passing: traveller.raw)
    let (bytes, number) = try second.readWithDescriptor(atMost: 10)
    #expect(bytes == [1, 2])
    let arrived = try ByteChannel(
      adopting: OwnedDescriptor(adopting: try #require(number)), peer: "the sender")
    try arrived.write([7])
    #expect(try kept.read(atMost: 1) == [7])
    try first.write([3])
    let plain = try second.readWithDescriptor(atMost: 10)
    #expect(plain.bytes == [3] && plain.descriptor == nil)
  }

  @Test func `a closed descriptor is refused`() throws {
    let address = MigrationURI.descriptor(987)
    #expect(throws: TransportError.failed(action: "Using fd:987", code: EBADF)) {
      try ByteChannel.connect(to: address)
    }
  }

  @Test func `a thread has a name and runs its body once`() throws {
    let name = Mutex("")
    let thread = try NamedThread(name: "a name that is too long") {
      let text = try? ByteChannel.connect(
        to: .file(path: "/proc/thread-self/comm", offset: 0), for: .reading
      ).readAll()
      name.withLock { $0 = String(decoding: text ?? [], as: UTF8.self) }
    }
    thread.join()
    thread.join()
    #expect(name.withLock { $0 } == "a name that is \n")
  }
}

/// The error that came of something done on another thread.
final class Outcome: Sendable {
  private let stored = Mutex<TransportError?>(nil)

  var error: TransportError? { stored.withLock { $0 } }

  func note(_ body: () throws(TransportError) -> Void) {
    do throws(TransportError) {
      try body()
    } catch {
      stored.withLock { $0 = error }
    }
  }
}

/// Reads a channel to its end on a thread of its own.
final class Collector: Sendable {
  private let stored = Mutex<[UInt8]>([])
  private let thread = Mutex<NamedThread?>(nil)

  init(_ channel: ByteChannel) {
    let thread = try? NamedThread(name: "collector") {
      let all = (try? channel.readAll()) ?? []
      self.stored.withLock { $0 = all }
    }
    self.thread.withLock { $0 = thread }
  }

  /// Everything, once the end has come.
  func bytes() -> [UInt8] {
    thread.withLock { $0 }?.join()
    return stored.withLock { $0 }
  }
}

extension ByteChannel {
  func readAll() throws(TransportError) -> [UInt8] {
    var all: [UInt8] = []
    while true {
      let bytes = try read(atMost: 64 << 10)
      if bytes.isEmpty { return all }
      all += bytes
    }
  }
}
