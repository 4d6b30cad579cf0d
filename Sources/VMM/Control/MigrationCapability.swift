// The capabilities of migrations: each one's name and, where Godwit lacks it, why.

/// A migration capability.
struct MigrationCapability: Sendable {
  /// QEMU's name of it.
  let name: String
  /// Why a machine that does not support it cannot turn it on; completes "because".
  let objection: String

  private init(_ name: String, _ objection: String) {
    self.name = name
    self.objection = objection
  }

  /// All of them, in the order in which they are listed.
  static let all: [MigrationCapability] = [
    MigrationCapability("xbzrle", "it sends whole pages"),
    MigrationCapability("rdma-pin-all", "it has no RDMA"),
    MigrationCapability("auto-converge", "its processors cannot be slowed down"),
    MigrationCapability("zero-blocks", "it migrates no disks"),
    MigrationCapability("events", "its migration reports none"),
    MigrationCapability(
      "postcopy-ram", "this host has no userfaultfd to serve its memory with while it runs"),
    MigrationCapability("x-colo", "it has no continuous replication"),
    MigrationCapability("release-ram", "it keeps its memory until the destination runs"),
    MigrationCapability("return-path", "it sends without hearing back"),
    MigrationCapability("pause-before-switchover", "it cannot be held"),
    MigrationCapability("multifd", "it sends over one channel"),
    MigrationCapability("dirty-bitmaps", "its disks have no dirty bitmaps"),
    MigrationCapability("postcopy-blocktime", "it keeps no such account"),
    MigrationCapability("late-block-activate", "its disks need no activation"),
    MigrationCapability("x-ignore-shared", "it sends all of its memory"),
    MigrationCapability("validate-uuid", "its stream does not carry its identity"),
    MigrationCapability("background-snapshot", "it is saved as it is at the end of the copy"),
    MigrationCapability("zero-copy-send", "it copies what it sends"),
    MigrationCapability(
      "postcopy-preempt", "this host has no userfaultfd to serve its memory with while it runs"),
    MigrationCapability("switchover-ack", "its devices ask for none"),
    MigrationCapability("dirty-limit", "it keeps no dirty ring; start it with --dirty-log ring"),
    MigrationCapability("mapped-ram", "it writes streams, not images"),
    MigrationCapability("x-known-pages", "it sends every page with its content"),
  ]

  /// Which of the two excludes the other, or needs it, and is not satisfied.
  /// - Returns: QEMU's text; nil where the set is sound.
  static func conflict(in capabilities: Set<String>) -> String? {
    func has(_ name: String) -> Bool { capabilities.contains(name) }
    if has("postcopy-preempt"), !has("postcopy-ram") {
      return "Postcopy preempt requires postcopy-ram"
    }
    if has("switchover-ack"), !has("return-path") {
      return "Capability 'switchover-ack' requires capability 'return-path'"
    }
    if has("auto-converge"), has("dirty-limit") {
      return "dirty-limit conflicts with auto-converge, choose only one of them"
    }
    if has("x-known-pages"), !has("return-path"), !has("postcopy-ram") {
      return "Capability 'x-known-pages' requires capability 'return-path'"
    }
    if has("postcopy-ram"), has("background-snapshot") {
      return "Postcopy is not compatible with background snapshot"
    }
    if has("postcopy-ram"), has("x-ignore-shared") {
      return "Postcopy is not compatible with ignore-shared"
    }
    return nil
  }
}
