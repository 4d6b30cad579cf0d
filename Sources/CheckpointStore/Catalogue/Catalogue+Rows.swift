// Between rows of SQLite and values, and between its errors and ours.

import Foundation
import GRDB

extension Catalogue {
  /// Calls into GRDB and says in our words what went wrong.
  static func translating<T>(_ path: String, _ body: () throws -> T) throws(StoreError) -> T {
    do {
      return try body()
    } catch let error as StoreError {
      throw error
    } catch let error as DatabaseError {
      switch error.resultCode {
      case .SQLITE_CORRUPT, .SQLITE_NOTADB:
        throw .damaged(
          Damage(
            file: CatalogueSeal.catalogueName,
            what: error.message ?? "it is not a sound SQLite database"))
      case .SQLITE_FULL:
        throw .system(doing: "writing the catalogue", path: path, code: ENOSPC)
      case .SQLITE_BUSY:
        throw .busy(doing: "changing the catalogue", holders: [])
      default:
        throw .catalogue(path: path, reason: error.message ?? "SQLite error \(error.resultCode)")
      }
    } catch {
      throw .catalogue(path: path, reason: "\(error)")
    }
  }

  static func damaged(_ what: String, checkpoint: String? = nil) -> StoreError {
    .damaged(Damage(checkpoint: checkpoint, file: CatalogueSeal.catalogueName, what: what))
  }

  static func data(_ hash: ContentHash) -> Data { Data(hash.bytes) }

  static func data(_ bytes: [UInt8]) -> Data { Data(bytes) }

  static func hash(_ value: DatabaseValue) -> ContentHash? {
    guard let data = Data.fromDatabaseValue(value), data.count == 32 else { return nil }
    var reader = FieldReader(Array(data))
    return reader.nextHash()
  }

  static func head(from row: Row) -> CatalogueHead? {
    guard let storeID = text(row, "store_id"), let length = count(row, "table_length"),
      let serial = count(row, "serial"), let free = count(row, "free_count"),
      let digest = hash(row["free_digest"])
    else { return nil }
    return CatalogueHead(
      storeID: storeID, tableLength: length, serial: serial, freeCount: free, freeDigest: digest)
  }

  /// The checkpoint that a row describes; throws unless the row's digest is that of its content.
  static func checkpoint(from row: Row, _ digester: Digester) throws -> CatalogueRow {
    let name = text(row, "name")
    guard let decoded = decode(row),
      hash(row["row_digest"]) == digester.hash(decoded.canonicalBytes())
    else { throw damaged("its row is not what was written", checkpoint: name) }
    return decoded
  }

  private static func decode(_ row: Row) -> CatalogueRow? {
    guard let name = text(row, "name"), let id = text(row, "id"),
      let created = Double.fromDatabaseValue(row["created"]), let machine = text(row, "machine"),
      let version = text(row, "qemu_version"), let architecture = text(row, "architecture"),
      let blockData = Data.fromDatabaseValue(row["blocks"]),
      let blocks = CatalogueRow.decodeBlocks(Array(blockData)),
      let ramBytes = count(row, "ram_bytes"), let zero = count(row, "pages_zero"),
      let new = count(row, "pages_new"), let known = count(row, "pages_known"),
      let stored = count(row, "stored_bytes"), let digest = hash(row["manifest_digest"])
    else { return nil }
    let summary = CheckpointSummary(
      ramBytes: ramBytes, pagesZero: zero, pagesNew: new, pagesKnown: known, storedBytes: stored)
    let info = CheckpointInfo(
      name: name, id: id, created: created, machine: machine, qemuVersion: version,
      architecture: architecture, parent: text(row, "parent"), blocks: blocks, summary: summary)
    return CatalogueRow(info: info, manifestDigest: digest)
  }

  private static func text(_ row: Row, _ column: String) -> String? {
    String.fromDatabaseValue(row[column])
  }

  private static func count(_ row: Row, _ column: String) -> UInt64? {
    Int64.fromDatabaseValue(row[column]).map { UInt64(bitPattern: $0) }
  }
}
