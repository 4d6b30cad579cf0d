// What a checkpoint says of the machine beside its memory and devices, as JSON in the store.

import CheckpointStore
import JSON
import Wire

/// Facts about the saved machine that the stream does not carry, or not in a readable place.
struct CheckpointMetadata: Sendable, Equatable {
  /// Whether the guest was running when the save began; such a guest runs again when restored.
  var wasRunning: Bool
  /// The name QEMU was started with (`-name`), if any.
  var guestName: String?
  /// `kvm`, `tcg` or what else ran the guest; nil where nobody told.
  var accelerator: String?
  /// How memory was copied; nil for a received stream.
  var mode: SaveMode?

  /// The metadata of a machine that a bare stream brought.
  init(
    wasRunning: Bool = true, guestName: String? = nil, accelerator: String? = nil,
    mode: SaveMode? = nil
  ) {
    self.wasRunning = wasRunning
    self.guestName = guestName
    self.accelerator = accelerator
    self.mode = mode
  }

  /// Reads what `encoded` wrote.
  ///
  /// Unknown members are passed over, missing ones take defaults, so that checkpoints of other
  /// versions of Godwit stay readable.
  init(decoding bytes: [UInt8]) {
    let value = (try? JSONValue(parsing: bytes)) ?? .null
    wasRunning = value["was-running"]?.bool ?? true
    guestName = value["guest-name"]?.string
    accelerator = value["accelerator"]?.string
    mode = value["mode"]?.string.flatMap(SaveMode.init(rawValue:))
  }

  /// As JSON.
  var encoded: [UInt8] {
    var members: [JSONMember] = [.init("was-running", .bool(wasRunning))]
    if let guestName { members.append(.init("guest-name", .string(guestName))) }
    if let accelerator { members.append(.init("accelerator", .string(accelerator))) }
    if let mode { members.append(.init("mode", .string(mode.rawValue))) }
    return JSONValue.object(members).bytes()
  }
}

/// The configuration section as a checkpoint keeps it.
extension StreamConfiguration {
  /// Reads what `storedBytes` wrote; nil if it is not that.
  init?(storedBytes bytes: [UInt8]) {
    guard let value = try? JSONValue(parsing: bytes), let machine = value["machine"]?.string
    else { return nil }
    self.init(
      machine: machine,
      targetPageBits: value["target-page-bits"]?.uint64.flatMap(UInt32.init(exactly:)),
      capabilities: value["capabilities"]?.array?.compactMap(\.string),
      uuid: value["uuid"]?.array?.compactMap {
        $0.uint64.flatMap(UInt8.init(exactly:))
      })
  }

  /// As JSON.
  var storedBytes: [UInt8] {
    var members: [JSONMember] = [.init("machine", .string(machine))]
    if let targetPageBits {
      members.append(.init("target-page-bits", .integer(Int64(targetPageBits))))
    }
    if let capabilities {
      members.append(.init("capabilities", .array(capabilities.map(JSONValue.string))))
    }
    if let uuid {
      members.append(.init("uuid", .array(uuid.map { .integer(Int64($0)) })))
    }
    return JSONValue.object(members).bytes()
  }
}
