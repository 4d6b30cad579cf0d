// The disk: every kind of request, what is refused, moves with requests under way.

import Glibc
import Testing

@testable import Devices

/// A raw image in a temporary file.
final class TemporaryImage {
  let path: String

  init(sectors: Int, fill: (Int) -> UInt8 = { UInt8(truncatingIfNeeded: $0) }) throws {
    var template = Array("/tmp/godwit-disk-XXXXXX".utf8CString)
    let number = mkstemp(&template)
    try #require(number >= 0)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    for sector in 0..<sectors {
      let bytes = [UInt8](repeating: fill(sector), count: 512)
      #expect(Glibc.write(number, bytes, 512) == 512)
    }
    close(number)
  }

  deinit { unlink(path) }

  func bytes(_ offset: Int, _ count: Int) -> [UInt8] {
    let number = open(path, O_RDONLY)
    defer { close(number) }
    var bytes = [UInt8](repeating: 0, count: count)
    #expect(pread(number, &bytes, count, offset) == count)
    return bytes
  }

  var blockCount: Int {
    var information = stat()
    return stat(path, &information) == 0 ? information.st_blocks : -1
  }
}

struct VirtioBlockTests {
  private static let header: UInt64 = 0x4_0000
  private static let status: UInt64 = 0x4_1000
  private static let data: UInt64 = 0x4_2000

  private struct Setup {
    let disk: VirtioBlock
    let driver: FakeDriver
    let machine: TestMachine
    let probe: LineProbe
  }

  private func setUp(
    _ image: TemporaryImage, isReadOnly: Bool = false, features: UInt64? = nil
  ) throws -> Setup {
    let machine = try TestMachine()
    let probe = LineProbe()
    let disk = try VirtioBlock(
      memory: machine.space, line: probe.line, path: image.path, isReadOnly: isReadOnly,
      serial: "GODWIT-TEST-0001")
    let driver = FakeDriver(disk, machine)
    disk.resume()
    driver.start(queues: 1, features: features)
    return Setup(disk: disk, driver: driver, machine: machine, probe: probe)
  }

  private func header(_ kind: UInt32, _ sector: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(kind)
    bytes.appendLittleEndian(0 as UInt32)
    bytes.appendLittleEndian(sector)
    return bytes
  }

  /// Makes a request, waits for it, and gives its status.
  private func ask(
    _ setup: Setup, _ kind: UInt32, sector: UInt64 = 0, output: [UInt8] = [], inputCount: Int = 0
  ) -> UInt8 {
    setup.machine.put(header(kind, sector), at: Self.header)
    setup.machine.put([0xee], at: Self.status)
    setup.machine.put(output, at: Self.data)
    setup.driver.add(
      0, readable: [(Self.header, 16)] + (output.isEmpty ? [] : [(Self.data, output.count)]),
      writable: (inputCount == 0 ? [] : [(Self.data, inputCount)]) + [(Self.status, 1)])
    setup.driver.notify(0)
    let used = setup.driver.await(0)
    #expect(used.first?.byteCount ?? 0 >= 1)
    return setup.machine.bytes(Self.status, 1).first ?? 0xee
  }

  @Test func `what is written is read, and is in the file`() throws {
    let image = try TemporaryImage(sectors: 64)
    let setup = try setUp(image)
    #expect(ask(setup, 0, sector: 3, inputCount: 1024) == 0)
    let read = setup.machine.bytes(Self.data, 1024)
    #expect(read == [UInt8](repeating: 3, count: 512) + [UInt8](repeating: 4, count: 512))
    let written = (0..<1536).map { UInt8(truncatingIfNeeded: $0 * 7) }
    #expect(ask(setup, 1, sector: 10, output: written) == 0)
    #expect(ask(setup, 4) == 0)
    setup.disk.quiesce()
    #expect(image.bytes(10 * 512, 1536) == written)
    #expect(image.bytes(13 * 512, 1) == [13])
    let statistics = setup.disk.statistics
    #expect(statistics.readByteCount == 1024 && statistics.writtenByteCount == 1536)
    #expect(statistics.flushCount == 1)
  }

  @Test func `the configuration tells the disk's size and ways`() throws {
    let setup = try setUp(TemporaryImage(sectors: 40))
    func field(_ offset: UInt64, _ count: Int) -> UInt64 {
      setup.disk.read(offset: 0x100 + offset, byteCount: count)
    }
    #expect(field(0, 8) == 40)
    #expect(field(0, 4) == 40 && field(4, 4) == 0)
    #expect(field(20, 4) == 512)
    #expect(field(34, 2) == 1)
    #expect(field(48, 4) > 0)
    #expect(field(4000, 4) == 0)
    #expect(setup.disk.byteCount == 40 * 512)
  }

  @Test func `the serial number is what it was given`() throws {
    let setup = try setUp(TemporaryImage(sectors: 1))
    #expect(ask(setup, 8, inputCount: 20) == 0)
    #expect(setup.machine.bytes(Self.data, 20) == Array("GODWIT-TEST-0001".utf8) + [0, 0, 0, 0])
  }

  @Test func `requests beyond the end, or of odd sizes, fail and harm nothing`() throws {
    let image = try TemporaryImage(sectors: 8)
    let setup = try setUp(image)
    #expect(ask(setup, 0, sector: 8, inputCount: 512) == 1)
    #expect(ask(setup, 0, sector: 7, inputCount: 1024) == 1)
    #expect(ask(setup, 0, sector: .max, inputCount: 512) == 1)
    #expect(ask(setup, 0, sector: 0, inputCount: 100) == 1)
    let bytes = [UInt8](repeating: 0xff, count: 1024)
    #expect(ask(setup, 1, sector: 7, output: bytes) == 1)
    #expect(ask(setup, 1, sector: 1 << 55, output: bytes) == 1)
    #expect(ask(setup, 99) == 2, "an unknown kind")
    #expect(image.bytes(7 * 512, 512) == [UInt8](repeating: 7, count: 512))
    #expect(setup.disk.statistics.failureCount == 7)
    #expect(!setup.driver.needsReset)
  }

  @Test func `a disk to be read only is not written`() throws {
    let image = try TemporaryImage(sectors: 8)
    let setup = try setUp(image, isReadOnly: true)
    #expect(setup.driver.offered & VirtioBlock.readOnly != 0)
    #expect(ask(setup, 1, output: [UInt8](repeating: 9, count: 512)) == 1)
    #expect(ask(setup, 13, output: range(0, 1)) == 2)
    #expect(ask(setup, 4) == 0)
    #expect(ask(setup, 0, sector: 2, inputCount: 512) == 0)
    #expect(image.bytes(0, 1) == [0])
  }

  private func range(_ sector: UInt64, _ count: UInt32, flags: UInt32 = 0) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(sector)
    bytes.appendLittleEndian(count)
    bytes.appendLittleEndian(flags)
    return bytes
  }

  @Test func `ranges are zeroed, and discarded where the file system can`() throws {
    let image = try TemporaryImage(sectors: 4096, fill: { _ in 0xaa })
    let setup = try setUp(image)
    let before = image.blockCount
    #expect(ask(setup, 13, output: range(8, 16)) == 0)
    #expect(image.bytes(8 * 512, 16 * 512) == [UInt8](repeating: 0, count: 16 * 512))
    #expect(image.bytes(24 * 512, 1) == [0xaa])
    if setup.disk.file.canDiscard {
      #expect(setup.driver.offered & VirtioBlock.discard != 0)
      #expect(ask(setup, 11, output: range(1024, 512) + range(2048, 512)) == 0)
      #expect(image.blockCount < before)
      #expect(ask(setup, 13, output: range(3072, 512, flags: 1)) == 0)
      #expect(image.bytes(3072 * 512, 512) == [UInt8](repeating: 0, count: 512))
    }
    #expect(ask(setup, 13, output: range(4095, 2)) == 1)
    #expect(ask(setup, 13, output: range(0, 1, flags: 8)) == 2)
    #expect(ask(setup, 13, output: range(0, .max)) == 1)
    #expect(ask(setup, 13, output: [1, 2, 3]) == 1)
    #expect(ask(setup, 13, output: range(0, 1) + range(2, 1)) == 1, "one range was offered")
  }

  @Test func `the pieces of a request may be cut anywhere`() throws {
    let image = try TemporaryImage(sectors: 8)
    let setup = try setUp(image)
    setup.machine.put(header(0, 5), at: Self.header)
    // The header in three pieces; the status byte at the end of the data's last piece, which is
    // behind the seam of two blocks.
    setup.driver.add(
      0, readable: [(Self.header, 3), (Self.header + 3, 10), (Self.header + 13, 3)],
      writable: [(TestMachine.seam - 100, 300), (Self.data, 0), (Self.data, 213)])
    setup.driver.notify(0)
    #expect(setup.driver.await(0).first?.byteCount == 513)
    #expect(setup.machine.bytes(TestMachine.seam - 100, 300) == [UInt8](repeating: 5, count: 300))
    #expect(setup.machine.bytes(Self.data, 213) == [UInt8](repeating: 5, count: 212) + [0])
  }

  @Test(arguments: ["no status", "no header", "short header", "status outside"])
  func `what is no request at all ends in a reset`(kind: String) throws {
    let setup = try setUp(TemporaryImage(sectors: 8))
    switch kind {
    case "no status": setup.driver.add(0, readable: [(Self.header, 16)])
    case "no header": setup.driver.add(0, writable: [(Self.data, 513)])
    case "short header":
      setup.driver.add(0, readable: [(Self.header, 15)], writable: [(Self.status, 1)])
    default:
      setup.driver.add(0, readable: [(Self.header, 16)], writable: [(TestMachine.rom, 1)])
    }
    setup.driver.notify(0)
    eventually("the device asks for a reset") { setup.driver.needsReset }
  }

  @Test func `data outside the memory fails the request alone`() throws {
    let setup = try setUp(TemporaryImage(sectors: 8))
    setup.machine.put(header(0, 0), at: Self.header)
    setup.driver.add(
      0, readable: [(Self.header, 16)], writable: [(TestMachine.rom, 512), (Self.status, 1)])
    setup.driver.notify(0)
    _ = setup.driver.await(0)
    #expect(setup.machine.bytes(Self.status, 1) == [1])
    #expect(!setup.driver.needsReset)
  }

  @Test func `what a disk reads into memory is marked dirty`() throws {
    let setup = try setUp(TemporaryImage(sectors: 64))
    try setup.machine.startLogging()
    #expect(ask(setup, 0, inputCount: 8192) == 0)
    #expect(setup.machine.isDirty(Self.data) && setup.machine.isDirty(Self.data + 8191))
    #expect(!setup.machine.isDirty(Self.data + 3 * 4096))
  }

  @Test func `a disk moves with requests waiting, and serves them where it wakes`() throws {
    let image = try TemporaryImage(sectors: 64)
    let setup = try setUp(image)
    #expect(ask(setup, 0, inputCount: 512) == 0)
    setup.disk.quiesce()
    setup.machine.put(header(0, 9), at: Self.header)
    for slot in 0..<4 as Range<UInt64> {
      setup.driver.add(
        0, readable: [(Self.header, 16)],
        writable: [(Self.data + slot * 512, 512), (Self.status + slot, 1)])
    }
    setup.driver.notify(0)
    usleep(20_000)
    #expect(setup.driver.collect(0).isEmpty, "a quiet disk does nothing")
    let probe = LineProbe()
    let target = try VirtioBlock(
      memory: setup.machine.space, line: probe.line, path: image.path)
    try move(from: setup.disk, to: target)
    let there = FakeDriver(target, setup.machine)
    there.adopt(setup.driver)
    target.resume()
    #expect(there.await(0, count: 4).map(\.byteCount) == [513, 513, 513, 513])
    #expect(setup.machine.bytes(Self.data, 2048) == [UInt8](repeating: 9, count: 2048))
    #expect(probe.level)
    target.quiesce()
  }

  @Test func `a state is refused by a disk of another size`() throws {
    let setup = try setUp(TemporaryImage(sectors: 8))
    setup.disk.quiesce()
    let other = try setUp(TemporaryImage(sectors: 16))
    other.disk.quiesce()
    #expect { try move(from: setup.disk, to: other.disk) } throws: { error in
      "\(error)".contains("sectors")
    }
  }

  @Test func `resets among requests lose none of the later ones`() throws {
    let image = try TemporaryImage(sectors: 64)
    let setup = try setUp(image)
    for _ in 0..<40 {
      setup.machine.put(header(0, 9), at: Self.header)
      for _ in 0..<4 {
        setup.driver.add(
          0, readable: [(Self.header, 16)], writable: [(Self.data, 512), (Self.status, 1)])
      }
      setup.driver.notify(0)
      setup.driver.start(queues: 1)
      // After the reset the old requests are forgotten: nothing may arrive for them.
      #expect(setup.driver.collect(0).isEmpty)
      #expect(ask(setup, 0, sector: 1, inputCount: 512) == 0)
    }
  }

  @Test func `an image that is none is refused in a sentence`() throws {
    let machine = try TestMachine()
    func open(_ path: String) throws -> VirtioBlock {
      try VirtioBlock(memory: machine.space, line: LineProbe().line, path: path)
    }
    #expect { try open("/tmp/no/such/image") } throws: { "\($0)".contains("/tmp/no/such/image") }
    #expect { try open("/dev/null") } throws: { "\($0)".contains("neither a file") }
    let empty = try TemporaryImage(sectors: 0)
    #expect { try open(empty.path) } throws: { "\($0)".contains("whole number of sectors") }
  }
}
