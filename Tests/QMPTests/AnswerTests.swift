// Answers as QEMU 7.2 and 10.0 give them, read without a QEMU.

import JSON
import QMP
import Testing

@Suite struct AnswerTests {
  static let oldBlocks = """
                  Block Name    PSize              Offset               Used              Total\r
                      pc.ram    4 KiB  0x0000000002000000 0x0000000008000000 0x0000000008000000\r
                                4 KiB  0x0000000000000000 0x0000000002000000 0x0000000002000000\r
        /rom@etc/acpi/tables    2 MiB  0x000000000b100000 0x0000000000020000 0x0000000000200000\r
    0000:00:02.0/virtio-net-pci.rom    4 KiB  0x000000000a080000 0x40000 0x40000\r

    """
  static let newBlocks = """
     Block Name    PSize              Offset               Used      Total                HVA  RO\r
      two words 4 KiB  0x0000000002000000 0x0000000008000000 0x8000000 0x00007fa4ffe00000  rw\r
    """

  @Test func `RAM blocks are read from both generations' tables`() {
    #expect(
      RAMBlockInfo.parse(Self.oldBlocks) == [
        RAMBlockInfo(
          name: "pc.ram", pageByteCount: 4096, usedByteCount: 128 << 20,
          maximumByteCount: 128 << 20),
        RAMBlockInfo(
          name: "/rom@etc/acpi/tables", pageByteCount: 2 << 20, usedByteCount: 128 << 10,
          maximumByteCount: 2 << 20),
        RAMBlockInfo(
          name: "0000:00:02.0/virtio-net-pci.rom", pageByteCount: 4096,
          usedByteCount: 256 << 10, maximumByteCount: 256 << 10),
      ])
    #expect(RAMBlockInfo.parse(Self.newBlocks)?.map(\.name) == ["two words"])
    #expect(RAMBlockInfo.parse("") == [])
  }

  @Test(arguments: [
    "unknown command: 'info ramblock'", "a 4 KiB 0x0 0x1", "a 4 KiB 0x0 0x2 0x1",
    "a 3 KiB 0x0 0x1 0x1", "a 4 XiB 0x0 0x1 0x1", "a -4 KiB 0x0 0x1 0x1", "a 0 KiB 0x0 0x1 0x1",
    "a 4 KiB 0x0 0x1 0x1ffffffffffffffff", "a 99999999999999999999 TiB 0x0 0x1 0x1",
  ])
  func `what is no table of RAM blocks is not guessed at`(text: String) {
    #expect(RAMBlockInfo.parse(text) == nil)
  }

  @Test func `a migration's state is read whatever is omitted`() throws {
    #expect(MigrationInfo([:]).status == .none)
    #expect(MigrationInfo([]).ram == nil)
    let text = """
      {"status": "postcopy-active", "setup-time": 1, "total-time": 30, "downtime": 2,
       "expected-downtime": 300, "cpu-throttle-percentage": 20, "error-desc": "why",
       "blocked-reasons": ["because"], "socket-address": [{"port": "4444"}],
       "ram": {"total": 34086912, "postcopy-requests": 7, "dirty-sync-count": 2,
         "pages-per-second": 3, "downtime-bytes": 529535, "page-size": 4096, "remaining": 5,
         "postcopy-bytes": 6, "mbps": 176.94, "transferred": 529535, "precopy-bytes": 8,
         "duplicate": 8211, "dirty-pages-rate": 9, "normal-bytes": 454656, "normal": 111}}
      """
    let info = MigrationInfo(try JSONValue(parsing: text))
    #expect(info.status == .postcopyActive && info.errorDescription == "why")
    #expect(info.setupMilliseconds == 1 && info.totalMilliseconds == 30)
    #expect(info.downtimeMilliseconds == 2 && info.expectedDowntimeMilliseconds == 300)
    #expect(info.throttlePercentage == 20 && info.blockedReasons == ["because"])
    #expect(info.socketAddresses == [["port": "4444"]] && info.raw["ram"] != nil)
    let ram = try #require(info.ram)
    #expect(ram.totalByteCount == 34_086_912 && ram.postcopyRequestCount == 7)
    #expect(ram.dirtySyncCount == 2 && ram.pagesPerSecond == 3 && ram.pageByteCount == 4096)
    #expect(ram.downtimeByteCount == 529_535 && ram.remainingByteCount == 5)
    #expect(ram.postcopyByteCount == 6 && ram.precopyByteCount == 8)
    #expect(ram.megabitsPerSecond == 176.94 && ram.transferredByteCount == 529_535)
    #expect(ram.zeroPageCount == 8211 && ram.normalPageCount == 111)
    #expect(ram.normalByteCount == 454_656 && ram.dirtyPagesPerSecond == 9)
  }

  @Test(arguments: [
    "none", "setup", "wait-unplug", "active", "pre-switchover", "device", "postcopy-active",
    "postcopy-paused", "postcopy-recover-setup", "postcopy-recover", "completed", "failed",
    "cancelling", "cancelled", "colo", "a word of tomorrow",
  ])
  func `a status keeps QEMU's word`(word: String) {
    let status = MigrationStatus(word)
    #expect(status.word == word)
    let terminal = ["none", "completed", "failed", "cancelled"]
    #expect(status.isTerminal == terminal.contains(word))
    if word == "a word of tomorrow" { #expect(status == .unknown(word)) }
  }

  @Test func `a schema tells commands and their arguments`() throws {
    let schema = QMPSchema([
      ["name": "0", "meta-type": "object", "members": [["name": "uri"], ["name": "resume"]]],
      ["name": "migrate", "meta-type": "command", "arg-type": "0"],
      ["name": "stop", "meta-type": "command", "arg-type": "7"], ["nonsense": 1], 5,
    ])
    #expect(schema.has("migrate") && schema.has("stop") && !schema.has("0"))
    #expect(schema.command("migrate", takes: "uri") && !schema.command("migrate", takes: "x"))
    #expect(!schema.command("stop", takes: "uri") && !schema.command("none", takes: "uri"))
  }

  @Test func `versions are ordered by their numbers`() {
    let old = QEMUVersion(major: 7, minor: 2, micro: 22, package: "Debian")
    #expect(old < QEMUVersion(major: 10, minor: 0) && "\(old)" == "7.2.22")
    #expect(QEMUVersion(major: 7, minor: 2, micro: 0) < old)
    #expect(!(old < old))
  }
}
