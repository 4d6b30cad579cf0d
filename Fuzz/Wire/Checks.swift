// Checks.swift: what has to hold for every input.

import FuzzFrame
import Wire
import WireLab

extension FuzzWire {
  /// Decodes an input in every way that it is meant for.
  static func check(
    _ kind: Kind, _ input: [UInt8], _ random: inout SplitMix, isCanary: Bool
  ) throws {
    switch kind {
    case .stream, .undescribed, .recovery, .known:
      try checkStream(input, decoderOptions(kind), &random, isCanary)
    case .returnpath: try checkReturnPath(input, false, &random)
    case .knownpath: try checkReturnPath(input, true, &random)
    case .delta: try checkDelta(input, &random)
    }
  }

  /// Options with limits that inputs of a few KiB can reach.
  static func decoderOptions(_ kind: Kind) -> StreamDecoder.Options {
    var limits = WireLimits()
    limits.deviceStateSize = 256 << 10
    limits.packageSize = 256 << 10
    limits.descriptionSize = 128 << 10
    limits.bitmapChunkSize = 64 << 10
    limits.fieldCount = 64 << 10
    return StreamDecoder.Options(
      expectsDeviceDescription: kind != .undescribed,
      recovery: kind == .recovery ? Seeds.recovery : nil, limits: limits,
      takesKnownPages: kind == .known)
  }

  private static func checkStream(
    _ input: [UInt8], _ options: StreamDecoder.Options, _ random: inout SplitMix,
    _ isCanary: Bool
  ) throws {
    let whole = Outcome(input, options: options) { .max }
    let largest = random.oneIn(2) ? 5 : 400
    let given = isCanary ? Array(input.dropLast()) : input
    let split = Outcome(given, options: options) { 1 + random.below(largest) }
    guard whole == split else {
      throw Finding(description: difference(whole, split))
    }
    if let error = whole.error, error.offset > UInt64(input.count) {
      throw Finding(description: "an error beyond the input: \(error)")
    }
    for call in whole.calls {
      if case .event(.deviceState(let state)) = call {
        try checkDevices(state, options.limits)
      }
      if case .event(.command(.packaged(let blob))) = call {
        try checkPackage(blob)
      }
    }
  }

  private static func difference(_ whole: Outcome, _ split: Outcome) -> String {
    let place =
      zip(whole.calls, split.calls).enumerated().first { $1.0 != $1.1 }?.offset
      ?? min(whole.calls.count, split.calls.count)
    return """
      splitting the input changed what it says, from call \(place) of \(whole.calls.count) and \
      \(split.calls.count): whole \(whole.error.map { "\($0)" } ?? "without error"), split \
      \(split.error.map { "\($0)" } ?? "without error"), offsets \(whole.offset), \(split.offset)
      """
  }

  /// Every byte of every section has to be in one field.
  private static func checkDevices(_ state: DeviceState, _ limits: WireLimits) throws {
    // Without either, nothing tells where a section ends.
    guard state.usesFooters || state.description != nil else { return }
    let sections: [DeviceSection]
    do {
      sections = try state.sections(limits: limits)
    } catch {
      throw Finding(description: "a device state that was accepted does not split: \(error)")
    }
    var end = 0
    for section in sections {
      guard section.range.lowerBound == end else {
        throw Finding(description: "a gap before section \(section.header.name)")
      }
      end = section.range.upperBound
      guard let fields = try? section.fields(limits: limits) else { continue }
      var position = 0
      for field in fields {
        guard field.range.lowerBound == position else {
          throw Finding(description: "a gap before field \(field.name)")
        }
        position = field.range.upperBound
      }
      guard position == section.payload.count else {
        throw Finding(description: "section \(section.header.name) has bytes in no field")
      }
    }
    guard end == state.bytes.count else {
      throw Finding(description: "bytes after the last section")
    }
    _ = try? state.globalState()
  }

  private static func checkPackage(_ blob: [UInt8]) throws {
    guard let package = try? PackagedState(parsing: blob) else { return }
    guard try package.encoded() == blob else {
      throw Finding(description: "a package that does not come back as it was")
    }
  }

  private static func checkReturnPath(
    _ input: [UInt8], _ takesKnownPages: Bool, _ random: inout SplitMix
  ) throws {
    let whole = returnPath(input, takesKnownPages) { .max }
    let split = returnPath(input, takesKnownPages) { 1 + random.below(7) }
    guard whole.messages == split.messages, whole.error == split.error else {
      throw Finding(description: "splitting the return path changed what it says")
    }
    var encoded: [UInt8] = []
    for message in whole.messages { try message.encode(into: &encoded) }
    guard input.starts(with: encoded) || whole.hasBitmap else {
      throw Finding(description: "messages that do not come back as they were")
    }
  }

  private static func returnPath(
    _ input: [UInt8], _ takesKnownPages: Bool, pieceSize: () -> Int
  ) -> (messages: [ReturnPathMessage], error: WireError?, hasBitmap: Bool) {
    var decoder = ReturnPathDecoder(
      pageCounts: Seeds.pageCounts, takesKnownPages: takesKnownPages)
    var messages: [ReturnPathMessage] = []
    var fault: WireError?
    do {
      var position = 0
      while position < input.count {
        let size = max(1, min(pieceSize(), input.count - position))
        try input.withBytes(position..<position + size) { piece in
          try decoder.feed(piece) { messages.append($0) }
        }
        position += size
      }
    } catch {
      fault = error as? WireError
    }
    let hasBitmap = messages.contains { message in
      if case .receivedBitmap = message { true } else { false }
    }
    return (messages, fault, hasBitmap)
  }

  /// A delta that is refused or applied; and a page that goes through a delta and back.
  private static func checkDelta(_ input: [UInt8], _ random: inout SplitMix) throws {
    var page = [UInt8](repeating: 0x5a, count: 1024)
    let before = page
    let isApplied = Seeds.apply(input, to: &page)
    guard isApplied || !input.isEmpty else {
      throw Finding(description: "an empty delta was refused")
    }
    let old = before.withBytes(0..<before.count) { old in
      page.withBytes(0..<page.count) { XBZRLE.encode(old: old, new: $0) }
    }
    guard let delta = old else { return }
    var again = before
    guard Seeds.apply(delta, to: &again), again == page else {
      throw Finding(description: "a page that does not come back from its delta")
    }
  }
}
