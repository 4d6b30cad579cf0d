// What the catalogue says of a checkpoint, as members of a JSON object.

import CheckpointStore
import JSON

extension CheckpointInfo {
  /// The catalogue's facts; `created` in seconds since 1970.
  var jsonMembers: [JSONMember] {
    [
      JSONMember("name", .string(name)), JSONMember("id", .string(id)),
      JSONMember("created", .number(created)), JSONMember("machine", .string(machine)),
      JSONMember("qemu_version", .string(qemuVersion)),
      JSONMember("architecture", .string(architecture)),
      JSONMember("parent", parent.map(JSONValue.string) ?? .null),
      JSONMember("ram_bytes", JSONValue(ramBytes)), JSONMember("pages_zero", JSONValue(pagesZero)),
      JSONMember("pages_new", JSONValue(pagesNew)),
      JSONMember("pages_known", JSONValue(pagesKnown)),
      JSONMember("stored_bytes", JSONValue(storedBytes)),
    ]
  }
}

extension StoreUsage {
  /// All that the store takes on disk.
  var totalBytes: UInt64 { packs + index + manifests + catalogue + images + sessions }
}
