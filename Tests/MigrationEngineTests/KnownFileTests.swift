// Files as known content: dumps of every kind of ELF, images, and files that are neither.

import Foundation
import PageHash
import Testing

@testable import MigrationEngine

/// A core file of a test: the memory of some segments between headers of either kind.
struct ELFDump {
  var isWide = true
  var isBigEndian = false
  var type: UInt16 = 4
  /// Where each segment's bytes are preceded by so many others, so that nothing is aligned.
  var padding = 0
  var countsInSection = false
  var segments: [(address: UInt64, bytes: [UInt8])]

  private func field(_ value: UInt64, _ count: Int) -> [UInt8] {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
    return isBigEndian ? bytes.reversed() : bytes
  }

  /// The whole file.
  var bytes: [UInt8] {
    let word = isWide ? 8 : 4
    let headerSize = isWide ? 64 : 52
    let entrySize = isWide ? 56 : 32
    let sectionSize = isWide ? 64 : 40
    let count = segments.count + 1
    let sectionOffset = headerSize + entrySize * count
    var out: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, isWide ? 2 : 1, isBigEndian ? 2 : 1, 1]
    out += [UInt8](repeating: 0, count: 9)
    out += field(UInt64(type), 2) + field(62, 2) + field(1, 4) + field(0, word)
    out += field(UInt64(headerSize), word)
    out += field(countsInSection ? UInt64(sectionOffset) : 0, word) + field(0, 4)
    out += field(UInt64(headerSize), 2) + field(UInt64(entrySize), 2)
    out += field(countsInSection ? 0xFFFF : UInt64(count), 2)
    out += field(UInt64(sectionSize), 2) + field(0, 4)
    var offset = sectionOffset + sectionSize + padding
    // A note before them, which holds no memory.
    out += entry(kind: 4, offset: 0, address: 0, count: 16)
    for segment in segments {
      out += entry(
        kind: 1, offset: UInt64(offset), address: segment.address,
        count: UInt64(segment.bytes.count))
      offset += segment.bytes.count + padding
    }
    var section = [UInt8](repeating: 0, count: sectionSize)
    section.replaceSubrange(
      (isWide ? 44 : 28)..<(isWide ? 48 : 32), with: field(UInt64(count), 4))
    out += section
    for segment in segments {
      out += [UInt8](repeating: 0xEE, count: padding) + segment.bytes
    }
    return out
  }

  private func entry(kind: UInt64, offset: UInt64, address: UInt64, count: UInt64) -> [UInt8] {
    let word = isWide ? 8 : 4
    let sizes = field(count, word) + field(count, word)
    let places = field(offset, word) + field(0, word) + field(address, word)
    return isWide
      ? field(kind, 4) + field(0, 4) + places + sizes + field(0, 8)
      : field(kind, 4) + places + sizes + field(0, 4) + field(0, 4)
  }
}

/// A folder that goes with its test.
final class KnownFolder {
  let path = NSTemporaryDirectory() + "/godwit-known-\(UUID().uuidString)"

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ bytes: [UInt8], _ name: String = "file") throws -> String {
    let file = path + "/" + name
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }
}

/// A page that there is once for each number; 0 is the page of zeros.
func knownPage(_ number: UInt64) -> [UInt8] {
  var page = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 4096)
  for index in 0..<8 { page[index] = UInt8(truncatingIfNeeded: number >> UInt64(index * 8)) }
  return page
}

func knownHash(_ page: [UInt8]) throws -> ContentHash { try Digester().hash(page) }

@Suite struct `Files of known pages` {
  /// What a content announces, and that each page of it can be read.
  private func announced(by content: any KnownContent) throws -> Set<UInt64> {
    var prefixes: Set<UInt64> = []
    try content.announce { part in
      for prefix in part {
        #expect(prefixes.insert(prefix).inserted)
      }
      return true
    }
    return prefixes
  }

  private func read(_ hash: ContentHash, from content: any KnownContent) -> [UInt8]? {
    var page = [UInt8](repeating: 0xAA, count: 4096)
    var span = page.mutableSpan
    var room = span.mutableBytes
    return content.read([hash], into: &room) == [true] ? page : nil
  }

  private func dump(_ file: ELFDump) throws -> (KnownFolder, any KnownContent) {
    let folder = try KnownFolder()
    let path = try folder.write(file.bytes)
    return (folder, try #require(try KnownContentPlace.elf(path: path).openFile()))
  }

  @Test(arguments: [true, false], [true, false])
  func `a dump of either word size and byte order gives its pages`(
    isWide: Bool, isBigEndian: Bool
  ) throws {
    for padding in [0, 1, 513] {
      let (folder, content) = try dump(
        ELFDump(
          isWide: isWide, isBigEndian: isBigEndian, padding: padding,
          segments: [
            (0, knownPage(1) + knownPage(0) + knownPage(2)), (0x10_0000, knownPage(3)),
          ]))
      defer { withExtendedLifetime(folder) {} }
      let hashes = try [1, 2, 3].map { try knownHash(knownPage($0)) }
      #expect(try announced(by: content) == Set(hashes.map(\.prefix)))
      for (hash, number) in zip(hashes, [1, 2, 3] as [UInt64]) {
        #expect(read(hash, from: content) == knownPage(number))
      }
      #expect(read(try knownHash(knownPage(4)), from: content) == nil)
      #expect(read(try knownHash(knownPage(0)), from: content) == nil)
    }
  }

  @Test func `pages are counted in the guest's addresses, and parts of pages left out`() throws {
    let torn = [UInt8](repeating: 9, count: 1000)
    let (folder, content) = try dump(
      ELFDump(segments: [
        (0x1000 - 1000, torn + knownPage(1) + torn), (0x9001, [UInt8](repeating: 8, count: 4096)),
      ]))
    defer { withExtendedLifetime(folder) {} }
    #expect(try announced(by: content) == [try knownHash(knownPage(1)).prefix])
  }

  @Test func `a dump with more segments than its header can count is read whole`() throws {
    let (folder, content) = try dump(
      ELFDump(countsInSection: true, segments: [(0, knownPage(5)), (0x1000, knownPage(6))]))
    defer { withExtendedLifetime(folder) {} }
    #expect(try announced(by: content).count == 2)
  }

  @Test func `pages that repeat are announced once, and again when asked again`() throws {
    let pages = (0..<2000).flatMap { knownPage(UInt64($0 % 700)) }
    let folder = try KnownFolder()
    let path = try folder.write(pages)
    let content = try #require(try KnownContentPlace.raw(path: path).openFile())
    let first = try announced(by: content)
    #expect(first.count == 699)
    #expect(try announced(by: content) == first)
  }

  @Test func `an announcement ends where nobody wants more of it`() throws {
    let folder = try KnownFolder()
    let path = try folder.write((1...4000).flatMap { knownPage(UInt64($0)) })
    let content = try #require(try KnownContentPlace.raw(path: path).openFile())
    var parts = 0
    try content.announce { _ in
      parts += 1
      return false
    }
    #expect(parts == 1)
  }

  @Test func `a file that shrank gives no page that is not there`() throws {
    let folder = try KnownFolder()
    let path = try folder.write(knownPage(1) + knownPage(2))
    let content = try #require(try KnownContentPlace.raw(path: path).openFile())
    _ = try announced(by: content)
    let handle = try #require(FileHandle(forWritingAtPath: path))
    try handle.truncate(atOffset: 5000)
    #expect(read(try knownHash(knownPage(1)), from: content) == knownPage(1))
    #expect(read(try knownHash(knownPage(2)), from: content) == nil)
  }

  /// Files that are no dumps, and what the sentence about each one says.
  static let wrong: [(name: String, bytes: [UInt8], says: String)] = [
    ("empty", [], "too short"),
    ("text", Array("This is not a dump of any kind.".utf8), "no ELF file"),
    ("kdump", Array("KDUMP   ".utf8) + [UInt8](repeating: 0, count: 4096), "compressed"),
    ("flat", Array("makedumpfile".utf8) + [UInt8](repeating: 0, count: 4096), "compressed"),
    ("program", ELFDump(type: 2, segments: [(0, knownPage(1))]).bytes, "type 2"),
    ("note", ELFDump(segments: []).bytes, "no memory"),
    ("crumbs", ELFDump(segments: [(0, [1, 2, 3])]).bytes, "no whole page"),
    ("short", Array(ELFDump(segments: [(0, knownPage(1))]).bytes.prefix(40)), "ELF header"),
    ("headers", Array(ELFDump(segments: [(0, knownPage(1))]).bytes.prefix(100)), "cut short"),
    (
      "truncated", Array(ELFDump(segments: [(0, knownPage(1))]).bytes.dropLast(9)), "truncated"
    ),
    (
      "class",
      [0x7F, 0x45, 0x4C, 0x46, 3, 1, 1] + [UInt8](repeating: 0, count: 100), "unknown kind"
    ),
  ]

  @Test(arguments: wrong.indices)
  func `what is no dump is refused with a sentence`(index: Int) throws {
    let (name, bytes, says) = Self.wrong[index]
    let folder = try KnownFolder()
    let path = try folder.write(bytes)
    let error = #expect(throws: KnownContentError.self, "\(name)") {
      _ = try KnownContentPlace.elf(path: path).openFile()
    }
    #expect(error?.description.contains(says) == true, "\(name): \(error?.description ?? "")")
    #expect(error?.description.contains(path) == true)
  }

  @Test func `headers that were changed anywhere are read or refused, never trusted`() throws {
    let good = ELFDump(segments: [(0x1000, knownPage(1)), (0x8000, knownPage(2))]).bytes
    var random = SystemRandomNumberGenerator()
    for _ in 0..<5000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<300, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let size = UInt64(bytes.count)
      let layout = try? DumpLayout(fileByteCount: size) { (offset, count) throws(Never) in
        #expect(offset + UInt64(count) <= size)
        return Array(bytes[Int(offset)..<Int(offset) + count])
      }
      for run in layout?.pageRuns(pageByteCount: 4096) ?? [] {
        #expect(run.fileOffset + UInt64(run.pageCount) * 4096 <= size)
      }
    }
  }

  @Test(arguments: ["/dev/null", "/", "/nowhere/at/all"])
  func `what is no file of pages is refused with a sentence`(path: String) {
    for place in [KnownContentPlace.raw(path: path), .elf(path: path)] {
      let error = #expect(throws: KnownContentError.self) { _ = try place.openFile() }
      #expect(error?.description.contains("cannot serve as known pages") == true)
    }
  }

  @Test(.timeLimit(.minutes(1))) func `a named pipe is refused without waiting for its writer`() {
    let path = "\(FileManager.default.temporaryDirectory.path)/godwit-\(UUID().uuidString)"
    #expect(mkfifo(path, 0o600) == 0)
    defer { unlink(path) }
    let error = #expect(throws: KnownContentError.self) {
      _ = try KnownContentPlace.raw(path: path).openFile()
    }
    #expect(error?.description.contains("neither a file nor a block device") == true)
  }

  @Test func `a place is written as its kind and its name`() {
    #expect(KnownContentPlace("raw:/a:b", store: "s") == .raw(path: "/a:b"))
    #expect(KnownContentPlace("elf:x", store: "s") == .elf(path: "x"))
    #expect(KnownContentPlace("checkpoint:c", store: "s") == .checkpoint(name: "c", store: "s"))
    for place in [
      KnownContentPlace.raw(path: "/a b"), .elf(path: "c:d"), .checkpoint(name: "n", store: "/s/t"),
    ] {
      #expect(KnownContentPlace(place.text) == place)
    }
    for text in ["store:", "store:x", "store:/x", "store:x/", "", "raw", "raw:", "file:x", ":x"] {
      #expect(KnownContentPlace(text, store: "s") == nil)
    }
  }
}
