// FuzzWire.swift: the fuzz target of Wire.

import FuzzFrame
import Wire
import WireLab

/// Feeds damaged streams to the decoders, again and again.
///
/// The decoders must say the same of an input however it is split.
@main
enum FuzzWire: FuzzTarget {
  /// What reads an input; the extension of its file says so.
  enum Kind: String, CaseIterable {
    /// A stream from its beginning.
    case stream
    /// A stream of a machine that sends no description.
    case undescribed
    /// A connection that carries on a postcopy.
    case recovery
    /// The reverse direction.
    case returnpath
    /// A delta-encoded page.
    case delta
    /// A stream with pages by their hashes, between two ends that agreed on them.
    case known
    /// The reverse direction of such a stream.
    case knownpath
  }

  static let name = "fuzz-wire"
  static let file = #filePath
  static let memoryLimit = 512

  static let tokens: [[UInt8]] = [
    [0], [1], [2], [3], [4], [5], [6], [7], [8], [0x7e], [0xff], [0x7f], [0x80],
    [0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [0x7f, 0xff, 0xff, 0xff], [0, 1, 0, 0],
    [0x10, 0, 0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 0, 0, 0, 0x10], [0, 0, 0, 0, 0, 0, 2, 0],
    [0, 0, 0, 0, 0, 0, 0, 0x28], [0, 0, 0, 0, 0, 0, 0, 0x22], [0, 0, 0, 0, 0, 0, 4, 0x20],
    [8, 0x47, 0x57, 0, 8], [0x47, 0x57, 0, 5], [0x47, 0x58, 0, 8], [0x47, 0x59, 0, 10],
    [0, 0, 0, 0, 0, 0, 1, 0x20],
    [0, 6, 0, 0, 0, 2, 0x7b, 0x7d], [0x7e, 0, 0, 0, 1], [0x7e, 0, 0, 0, 2],
    [8, 0, 4, 0, 0], [8, 0, 7, 0, 4, 0, 0, 0, 20], [4, 0, 0, 0, 9, 1, 0x61],
    [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Array("\"size\":".utf8),
    Array("\"array_len\":4294967296,".utf8), Array("{\"devices\":[".utf8),
  ]

  static func outcome(_ kind: Kind, _ input: [UInt8]) -> String {
    guard [.stream, .undescribed, .recovery, .known].contains(kind) else { return "" }
    let outcome = Outcome(input, options: decoderOptions(kind)) { .max }
    return "\(outcome.calls.count) calls, \(outcome.error.map { "\($0)" } ?? "whole")"
  }

  static func seeds() throws -> [(name: String, bytes: [UInt8])] { try Seeds.all() }
}
