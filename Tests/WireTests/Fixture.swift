// Fixture.swift: the captured streams, and what is known of each.

import CZlib
import Foundation
import Testing
import WireLab

@testable import Wire

/// A capture of what QEMU wrote.
struct Fixture: CustomTestStringConvertible {
  var name: String
  /// Whether the stream ends without a description.
  var isUndescribed = false
  /// The stream whose facts this one relies on, for a recovered connection.
  var predecessor: String?

  var testDescription: String { name }

  /// Every captured stream that is read from its beginning.
  static let streams: [Fixture] = [
    Fixture(name: "pc-7.2"), Fixture(name: "pc-10.0"), Fixture(name: "pc-2.3-on-7.2"),
    Fixture(name: "q35-7.2"), Fixture(name: "q35-10.0"), Fixture(name: "microvm-7.2"),
    Fixture(name: "microvm-10.0"), Fixture(name: "aarch64-virt-7.2"),
    Fixture(name: "m68k-virt-7.2"), Fixture(name: "m68k-q800-7.2"),
    Fixture(name: "mips-malta-7.2"), Fixture(name: "s390x-7.2"),
    Fixture(name: "suppress-vmdesc-10.0", isUndescribed: true),
    Fixture(name: "ignore-shared-uuid-10.0"), Fixture(name: "compress-7.2"),
    Fixture(name: "xbzrle-10.0"), Fixture(name: "dirty-bitmaps-10.0"),
    Fixture(name: "background-snapshot-10.0"), Fixture(name: "return-path-10.0"),
    Fixture(name: "postcopy-7.2"), Fixture(name: "huge-pages-10.0"),
    Fixture(name: "huge-pages-m68k-7.2"), Fixture(name: "virtio-mem-10.0"),
    Fixture(name: "virtio-mem-background-10.0"),
  ]

  /// The streams that take little time to decode byte by byte.
  static let small = streams.filter {
    ["microvm-7.2", "m68k-virt-7.2", "s390x-7.2", "suppress-vmdesc-10.0", "dirty-bitmaps-10.0"]
      .contains($0.name)
  }

  /// The bytes of the stream.
  var bytes: [UInt8] {
    get throws { try Self.expand(Self.file(name + ".stream.gz")) }
  }

  /// What the destination answered.
  var returnPath: [UInt8] {
    get throws { try Self.file(name + ".returnpath") }
  }

  /// What a decoder of this stream is told.
  var options: StreamDecoder.Options {
    StreamDecoder.Options(expectsDeviceDescription: !isUndescribed)
  }

  /// What the whole stream, fed at once, says.
  func outcome() throws -> Outcome { Outcome(try bytes, options: options) { .max } }

  /// The stream's device state.
  func deviceState() throws -> DeviceState {
    for case .event(.deviceState(let state)) in try outcome().calls { return state }
    throw Missing(what: "device state in \(name)")
  }

  struct Missing: Error { var what: String }

  private static func file(_ name: String) throws -> [UInt8] {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return [UInt8](try Data(contentsOf: folder.appendingPathComponent("Fixtures/" + name)))
  }

  /// What a gzip file holds.
  private static func expand(_ bytes: [UInt8]) throws -> [UInt8] {
    var input = bytes
    let size = bytes.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
    var output = [UInt8](repeating: 0, count: size)
    var stream = z_stream()
    let gzip: Int32 = 31
    guard inflateInit2_(&stream, gzip, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { throw Missing(what: "zlib") }
    defer { inflateEnd(&stream) }
    let status = input.withUnsafeMutableBufferPointer { source in
      output.withUnsafeMutableBufferPointer { target in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(target.count)
        return inflate(&stream, Z_FINISH)
      }
    }
    guard status == Z_STREAM_END else { throw Missing(what: "the end of a gzip file") }
    return output
  }
}

extension Outcome {
  /// The events, without the pages.
  var events: [StreamEvent] {
    calls.compactMap { if case .event(let event) = $0 { event } else { nil } }
  }
}

extension [UInt8] {
  /// Feeds all bytes to a new decoder and its visitor.
  func decode<V: StreamVisitor>(
    _ options: StreamDecoder.Options = .init(), to visitor: inout V
  ) throws -> StreamDecoder {
    var decoder = StreamDecoder(options: options)
    try withBytes(0..<count) { try decoder.feed($0, to: &visitor) }
    try decoder.finish(to: &visitor)
    return decoder
  }

  /// The first place of `pattern`.
  func firstPlace(of pattern: [UInt8]) -> Int? {
    guard count >= pattern.count else { return nil }
    return (0...count - pattern.count).first {
      self[$0..<$0 + pattern.count].elementsEqual(pattern)
    }
  }
}
