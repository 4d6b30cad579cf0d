// PackagedState.swift: the blob that takes a postcopy's device state across.

/// What a packaged blob holds: listen, the FULL sections, a ping, run.
public struct PackagedState: Equatable, Sendable {
  /// The FULL sections, verbatim; `DeviceState` splits and decodes them.
  public var deviceBytes: [UInt8]
  /// The value of the ping that precedes the start, if there is one.
  ///
  /// QEMU's own is 3.
  public var ping: UInt32?

  /// The blob for a postcopy of the given device state.
  public init(deviceBytes: [UInt8], ping: UInt32? = 3) {
    self.deviceBytes = deviceBytes
    self.ping = ping
  }

  /// Takes a blob apart.
  /// - Throws: `WireError` of kind `malformedCommand` unless the blob begins with the command to
  ///   listen and ends with the command to run.
  public init(parsing blob: [UInt8]) throws(WireError) {
    let listen = try Self.encoded(.postcopyListen)
    let run = try Self.encoded(.postcopyRun)
    guard blob.count >= listen.count + run.count, blob.starts(with: listen),
      blob.suffix(run.count).elementsEqual(run)
    else {
      throw WireError(
        .malformedCommand, at: 0, reading: "a packaged blob",
        expected: "the commands to listen and to run at its ends", found: "something else")
    }
    let middle = blob[listen.count..<blob.count - run.count]
    let prefix = try Self.encoded(.ping(0)).dropLast(4)
    let tail = middle.suffix(prefix.count + 4)
    guard tail.starts(with: prefix), tail.count == prefix.count + 4 else {
      self.init(deviceBytes: Array(middle), ping: nil)
      return
    }
    let value = tail.suffix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    self.init(deviceBytes: Array(middle.dropLast(tail.count)), ping: value)
  }

  /// The blob, to be sent by `VMCommand.packaged`.
  public func encoded() throws(WireError) -> [UInt8] {
    var encoder = StreamEncoder()
    try encoder.append(.postcopyListen)
    encoder.append(verbatim: deviceBytes)
    if let ping { try encoder.append(.ping(ping)) }
    try encoder.append(.postcopyRun)
    return encoder.buffer
  }

  private static func encoded(_ command: VMCommand) throws(WireError) -> [UInt8] {
    var encoder = StreamEncoder()
    try encoder.append(command)
    return encoder.buffer
  }
}
