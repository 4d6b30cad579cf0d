// Starting, watching and ending migrations.

public import JSON

extension QMPClient {
  /// Asks how far the migration is: `query-migrate`.
  public func migration() async throws(QMPError) -> MigrationInfo {
    MigrationInfo(try await execute("query-migrate"))
  }

  /// `migrate`: begins to send the machine; returns at once.
  /// - Parameters:
  ///   - uri: where to, in QEMU's notation, `fd:NAME` after ``passDescriptor(_:named:)`` included.
  ///   - resumes: whether this carries on a broken postcopy.
  public func migrate(to uri: String, resumes: Bool = false) async throws(QMPError) {
    var arguments: [JSONMember] = [JSONMember("uri", .string(uri))]
    if resumes { arguments.append(JSONMember("resume", true)) }
    try await execute("migrate", .object(arguments))
  }

  /// `migrate-incoming`: begins to wait for a machine; QEMU must have `-incoming defer`.
  /// - Parameters:
  ///   - uri: where from, in QEMU's notation.
  ///   - exitsOnError: whether QEMU quits where the machine cannot be loaded. False is asked for
  ///     only of a QEMU that knows the choice (9.1 and later); an older one always quits.
  public func migrateIncoming(from uri: String, exitsOnError: Bool = true) async throws(QMPError) {
    var arguments: [JSONMember] = [JSONMember("uri", .string(uri))]
    if !exitsOnError, try await schema().command("migrate-incoming", takes: "exit-on-error") {
      arguments.append(JSONMember("exit-on-error", false))
    }
    try await execute("migrate-incoming", .object(arguments))
  }

  /// `migrate-recover`: a destination whose postcopy broke waits for its source again.
  public func migrateRecover(from uri: String) async throws(QMPError) {
    try await execute("migrate-recover", ["uri": .string(uri)])
  }

  /// `migrate-pause`: breaks a postcopy so that it can be carried on.
  public func migratePause() async throws(QMPError) { try await execute("migrate-pause") }

  /// `migrate_cancel`: ends a migration that sends; with none under way it does nothing.
  public func migrateCancel() async throws(QMPError) { try await execute("migrate_cancel") }

  /// `migrate-continue`: goes on where `pause-before-switchover` has stopped.
  public func migrateContinue() async throws(QMPError) {
    try await execute("migrate-continue", ["state": "pre-switchover"])
  }

  /// `migrate-start-postcopy`: switches to postcopy as soon as the migration allows.
  public func migrateStartPostcopy() async throws(QMPError) {
    try await execute("migrate-start-postcopy")
  }

  /// The capabilities that this QEMU knows, and which of them are on.
  public func migrationCapabilities() async throws(QMPError) -> [String: Bool] {
    var capabilities: [String: Bool] = [:]
    for entry in try await reply("query-migrate-capabilities").list() {
      capabilities[try entry.string("capability")] = try entry.bool("state")
    }
    return capabilities
  }

  /// Turns capabilities on and off, all or none.
  public func setMigrationCapabilities(_ states: [String: Bool]) async throws(QMPError) {
    let list = states.sorted { $0.key < $1.key }.map { name, state -> JSONValue in
      ["capability": .string(name), "state": .bool(state)]
    }
    try await execute("migrate-set-capabilities", ["capabilities": .array(list)])
  }

  /// The parameters that this QEMU knows, and their values.
  public func migrationParameters() async throws(QMPError) -> [JSONMember] {
    let reply = try await reply("query-migrate-parameters")
    return try reply.require(reply.value.members, "its parameters")
  }

  /// Sets parameters.
  public func setMigrationParameters(_ values: [JSONMember]) async throws(QMPError) {
    try await execute("migrate-set-parameters", .object(values))
  }

  /// `getfd`: gives QEMU a descriptor that it can be told to use as `fd:NAME`, once.
  /// - Parameters:
  ///   - descriptor: stays open here; close it when QEMU is to be the only owner.
  ///   - name: replaces an unused descriptor of the same name.
  public func passDescriptor(_ descriptor: Int32, named name: String) async throws(QMPError) {
    try await execute("getfd", ["fdname": .string(name)], passing: descriptor)
  }

  /// `closefd`: takes back a descriptor that was passed and not used.
  public func closeDescriptor(named name: String) async throws(QMPError) {
    try await execute("closefd", ["fdname": .string(name)])
  }

  /// `pmemsave`: QEMU writes guest-physical memory to a file.
  ///
  /// The machine should be stopped.
  /// - Parameters:
  ///   - address: guest-physical address of the first byte.
  ///   - byteCount: how much.
  ///   - path: as QEMU sees it; replaced if it exists.
  public func savePhysicalMemory(
    from address: UInt64, byteCount: UInt64, to path: String
  ) async throws(QMPError) {
    try await execute(
      "pmemsave",
      ["val": JSONValue(address), "size": JSONValue(byteCount), "filename": .string(path)])
  }
}
