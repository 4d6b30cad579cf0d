// The list of checkpoints: SQLite, every row with a digest, the file with a seal.

import GRDB
import PageHash

/// The catalogue of a store.
///
/// Reading needs no lock; `commit` is called with the publish lock held.
final class Catalogue: Sendable {
  let path: String
  private let queue: DatabaseQueue
  private let seal: CatalogueSeal

  private init(path: String, queue: DatabaseQueue) {
    self.path = path
    self.queue = queue
    seal = CatalogueSeal(catalogue: path)
  }

  private static func connect(_ path: String) throws(StoreError) -> DatabaseQueue {
    var configuration = Configuration()
    configuration.busyMode = .timeout(30)
    configuration.prepareDatabase { database in
      try database.execute(sql: "PRAGMA synchronous = FULL")
      try database.execute(sql: "PRAGMA cell_size_check = ON")
    }
    let settings = configuration
    return try translating(path) { try DatabaseQueue(path: path, configuration: settings) }
  }

  /// Makes an empty catalogue.
  static func create(_ path: String, storeID: String) throws(StoreError) {
    let queue = try connect(path)
    let head = CatalogueHead(
      storeID: storeID, tableLength: 0, serial: 1, freeCount: 0, freeDigest: .none)
    let digest = try Digester.make().hash(head.canonicalBytes())
    try translating(path) {
      try queue.write { database in
        try database.execute(sql: schema)
        try database.execute(
          sql: """
            INSERT INTO store (id, store_id, table_length, serial, free_count, free_digest,
              row_digest) VALUES (1, ?, 0, 1, 0, ?, ?)
            """,
          arguments: [storeID, data(head.freeDigest), data(digest)])
      }
      try queue.close()
    }
    try CatalogueSeal(catalogue: path).close()
  }

  /// Opens a catalogue.
  static func open(_ path: String) throws(StoreError) -> Catalogue {
    Catalogue(path: path, queue: try connect(path))
  }

  private static let schema = """
    CREATE TABLE store (
      id INTEGER PRIMARY KEY CHECK (id = 1), store_id TEXT NOT NULL,
      table_length INTEGER NOT NULL, serial INTEGER NOT NULL, free_count INTEGER NOT NULL,
      free_digest BLOB NOT NULL, row_digest BLOB NOT NULL);
    CREATE TABLE checkpoints (
      id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL,
      machine TEXT NOT NULL, qemu_version TEXT NOT NULL, architecture TEXT NOT NULL, parent TEXT,
      blocks BLOB NOT NULL, ram_bytes INTEGER NOT NULL, pages_zero INTEGER NOT NULL,
      pages_new INTEGER NOT NULL, pages_known INTEGER NOT NULL, stored_bytes INTEGER NOT NULL,
      manifest_digest BLOB NOT NULL, row_digest BLOB NOT NULL) WITHOUT ROWID;
    """

  // MARK: Reading

  /// The catalogue's own row.
  func head() throws(StoreError) -> CatalogueHead {
    let digester = try Digester.make()
    return try Catalogue.translating(path) {
      try queue.read { database in
        guard let row = try Row.fetchOne(database, sql: Catalogue.selectHead),
          let head = Catalogue.head(from: row),
          Catalogue.hash(row[5]) == digester.hash(head.canonicalBytes())
        else { throw Catalogue.damaged("the store's own row is not what was written") }
        return head
      }
    }
  }

  /// All rows, oldest first; throws at the first that is damaged.
  func rows() throws(StoreError) -> [CatalogueRow] {
    let digester = try Digester.make()
    return try Catalogue.translating(path) {
      try queue.read { database in
        try Row.fetchAll(database, sql: Catalogue.selectCheckpoints + " ORDER BY created, id").map {
          try Catalogue.checkpoint(from: $0, digester)
        }
      }
    }
  }

  /// The row of a name, if it is listed.
  func row(named name: String) throws(StoreError) -> CatalogueRow? {
    let digester = try Digester.make()
    return try Catalogue.translating(path) {
      try queue.read { database in
        try Row.fetchOne(
          database, sql: Catalogue.selectCheckpoints + " WHERE name = ?", arguments: [name]
        ).map { try Catalogue.checkpoint(from: $0, digester) }
      }
    }
  }

  /// Names of rows that can be read at all, and what is wrong with the others.
  func survey() throws(StoreError) -> (rows: [CatalogueRow], damages: [Damage]) {
    let digester = try Digester.make()
    return try Catalogue.translating(path) {
      try queue.read { database in
        var rows: [CatalogueRow] = []
        var damages: [Damage] = []
        let all = try Row.fetchAll(
          database, sql: Catalogue.selectCheckpoints + " ORDER BY created, id")
        for row in all {
          do {
            rows.append(try Catalogue.checkpoint(from: row, digester))
          } catch StoreError.damaged(let damage) {
            damages.append(damage)
          }
        }
        let report = try String.fetchAll(database, sql: "PRAGMA integrity_check(10)")
        for line in report where line != "ok" {
          damages.append(Damage(file: CatalogueSeal.catalogueName, what: line))
        }
        return (rows, damages)
      }
    }
  }

  /// What is wrong with the file as a whole; called with the publish lock held.
  func checkSeal() throws(StoreError) -> Damage? { try seal.check() }

  // MARK: Writing

  /// Replaces the store's row, adds and removes checkpoints: all of it or nothing, once and for all
  /// when this returns.
  ///
  /// The publish lock is held.
  func commit(
    _ head: CatalogueHead, adding row: CatalogueRow? = nil, removing names: [String] = []
  ) throws(StoreError) {
    let digester = try Digester.make()
    if let damage = try seal.check() { throw .damaged(damage) }
    if seal.isChanging {
      let found = try survey()
      if let damage = found.damages.first { throw .damaged(damage) }
    }
    try seal.open()
    do throws(StoreError) {
      try Catalogue.translating(path) {
        try queue.write { database in
          try Catalogue.update(database, head, digester)
          for name in names {
            try database.execute(sql: "DELETE FROM checkpoints WHERE name = ?", arguments: [name])
          }
          if let row { try Catalogue.insert(database, row, digester) }
        }
      }
    } catch {
      // After any other failure SQLite may still have to roll back: the seal stays open until the
      // next commit has looked at every row.
      if case .nameTaken = error { try? seal.close() }
      throw error
    }
    // The checkpoint is listed from here on: an unclosed seal only costs the next writer a check.
    try? seal.close()
  }

  private static func update(
    _ database: Database, _ head: CatalogueHead, _ digester: Digester
  ) throws {
    try database.execute(
      sql: """
        UPDATE store SET table_length = ?, serial = ?, free_count = ?, free_digest = ?,
          row_digest = ? WHERE id = 1
        """,
      arguments: [
        Int64(bitPattern: head.tableLength), Int64(bitPattern: head.serial),
        Int64(bitPattern: head.freeCount), data(head.freeDigest),
        data(digester.hash(head.canonicalBytes())),
      ])
  }

  private static func insert(
    _ database: Database, _ row: CatalogueRow, _ digester: Digester
  ) throws {
    let info = row.info
    do {
      try database.execute(
        sql: """
          INSERT INTO checkpoints (id, name, created, machine, qemu_version, architecture, parent,
            blocks, ram_bytes, pages_zero, pages_new, pages_known, stored_bytes, manifest_digest,
            row_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          info.id, info.name, info.created, info.machine, info.qemuVersion, info.architecture,
          info.parent, data(CatalogueRow.encode(info.blocks)),
          Int64(bitPattern: info.ramBytes), Int64(bitPattern: info.pagesZero),
          Int64(bitPattern: info.pagesNew), Int64(bitPattern: info.pagesKnown),
          Int64(bitPattern: info.storedBytes), data(row.manifestDigest),
          data(digester.hash(row.canonicalBytes())),
        ])
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
      throw StoreError.nameTaken(info.name)
    }
  }
}
