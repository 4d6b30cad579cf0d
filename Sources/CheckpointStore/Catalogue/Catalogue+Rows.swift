// Between rows of SQLite and values, and between its errors and ours.

import Foundation
import GRDB
import PageHash

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

  // Columns are named in the query and read by position: in a damaged file a column may have
  // another name, which must be an error of SQLite's and not a trap.

  static let selectHead = """
    SELECT store_id, table_length, serial, free_count, free_digest, row_digest FROM store
      WHERE id = 1
    """

  static let selectCheckpoints = """
    SELECT name, id, created, machine, qemu_version, architecture, parent, blocks, ram_bytes,
      pages_zero, pages_new, pages_known, stored_bytes, manifest_digest, row_digest
      FROM checkpoints
    """

  /// The store's own row, from the columns of `selectHead`.
  static func head(from row: Row) -> CatalogueHead? {
    guard row.count == 6, let storeID = text(row[0]), let length = count(row[1]),
      let serial = count(row[2]), let free = count(row[3]), let digest = hash(row[4])
    else { return nil }
    return CatalogueHead(
      storeID: storeID, tableLength: length, serial: serial, freeCount: free, freeDigest: digest)
  }

  /// The checkpoint in the columns of `selectCheckpoints`; throws unless the row's digest is that
  /// of its content.
  static func checkpoint(from row: Row, _ digester: Digester) throws -> CatalogueRow {
    guard row.count == 15, let decoded = decode(row),
      hash(row[14]) == digester.hash(decoded.canonicalBytes())
    else {
      throw damaged(
        "its row is not what was written", checkpoint: row.count > 0 ? text(row[0]) : nil)
    }
    return decoded
  }

  private static func decode(_ row: Row) -> CatalogueRow? {
    guard let name = text(row[0]), let id = text(row[1]),
      let created = Double.fromDatabaseValue(row[2]), let machine = text(row[3]),
      let version = text(row[4]), let architecture = text(row[5]),
      let blockData = Data.fromDatabaseValue(row[7]),
      let blocks = CatalogueRow.decodeBlocks(Array(blockData)), let ramBytes = count(row[8]),
      let zero = count(row[9]), let new = count(row[10]), let known = count(row[11]),
      let stored = count(row[12]), let digest = hash(row[13])
    else { return nil }
    let summary = CheckpointSummary(
      ramBytes: ramBytes, pagesZero: zero, pagesNew: new, pagesKnown: known, storedBytes: stored)
    let info = CheckpointInfo(
      name: name, id: id, created: created, machine: machine, qemuVersion: version,
      architecture: architecture, parent: text(row[6]), blocks: blocks, summary: summary)
    return CatalogueRow(info: info, manifestDigest: digest)
  }

  private static func text(_ value: DatabaseValue) -> String? { String.fromDatabaseValue(value) }

  private static func count(_ value: DatabaseValue) -> UInt64? {
    Int64.fromDatabaseValue(value).map { UInt64(bitPattern: $0) }
  }
}
