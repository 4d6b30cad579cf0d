// LMDB in the same place, as two designs would use it.

import CLMDB
import Foundation
import PageHash

@testable import CheckpointStore

/// One LMDB environment with one or two databases.
///
/// By hash only: hash (32 bytes) to location (8); a manifest would hold whole hashes, 32 bytes a
/// page. With numbers: hash to number (8), and number to the 40-byte entry, so that a manifest
/// holds numbers of 8 bytes as ours does.
final class LMDBIndex: PageIndexing {
  let name: String
  private let path: String
  private let byHashOnly: Bool
  private var environment: OpaquePointer?
  private var byHash: MDB_dbi = 0
  private var byNumber: MDB_dbi = 0

  struct Failure: Error { var code: Int32 }

  init(folder: String, pages: Int, byHashOnly: Bool) throws {
    self.byHashOnly = byHashOnly
    name = byHashOnly ? "LMDB: hash -> location" : "LMDB: hash -> number -> entry"
    path = folder + "/lmdb-\(byHashOnly)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try check(mdb_env_create(&environment))
    try check(mdb_env_set_mapsize(environment, max(pages * 512, 64 << 20)))
    try check(mdb_env_set_maxdbs(environment, 2))
    // As the own index: nothing is synced before the end.
    try check(mdb_env_open(environment, path, UInt32(MDB_NOSYNC | MDB_WRITEMAP), 0o644))
    try transaction(readOnly: false) { transaction in
      try check(mdb_dbi_open(transaction, "hash", UInt32(MDB_CREATE), &byHash))
      try check(
        mdb_dbi_open(transaction, "number", UInt32(MDB_CREATE | MDB_INTEGERKEY), &byNumber))
    }
  }

  deinit { mdb_env_close(environment) }

  private func check(_ code: Int32) throws {
    if code != 0 { throw Failure(code: code) }
  }

  private func transaction(readOnly: Bool, _ body: (OpaquePointer?) throws -> Void) throws {
    var transaction: OpaquePointer?
    try check(mdb_txn_begin(environment, nil, readOnly ? UInt32(MDB_RDONLY) : 0, &transaction))
    do { try body(transaction) } catch {
      mdb_txn_abort(transaction)
      throw error
    }
    try check(mdb_txn_commit(transaction))
  }

  func insert(_ entries: [PageEntry]) throws {
    var number: UInt64 = 0
    var start = 0
    while start < entries.count {
      // One transaction for 64 batches: one for each would be slower still.
      let end = min(start + 4096, entries.count)
      try transaction(readOnly: false) { transaction in
        for entry in entries[start..<end] {
          number += 1
          var entry = entry
          var key = number
          try withUnsafeMutableBytes(of: &entry) { bytes in
            var hash = MDB_val(mv_size: 32, mv_data: bytes.baseAddress)
            var value = MDB_val(mv_size: 8, mv_data: bytes.baseAddress! + 32)
            if byHashOnly {
              try check(mdb_put(transaction, byHash, &hash, &value, 0))
              return
            }
            var whole = MDB_val(mv_size: 40, mv_data: bytes.baseAddress)
            try withUnsafeMutableBytes(of: &key) { keyBytes in
              var place = MDB_val(mv_size: 8, mv_data: keyBytes.baseAddress)
              try check(mdb_put(transaction, byHash, &hash, &place, 0))
              try check(mdb_put(transaction, byNumber, &place, &whole, UInt32(MDB_APPEND)))
            }
          }
        }
      }
      start = end
    }
    try check(mdb_env_sync(environment, 1))
  }

  func countFound(_ hashes: [ContentHash]) throws -> Int {
    var found = 0
    try transaction(readOnly: true) { transaction in
      for hash in hashes {
        var hash = hash
        try withUnsafeMutableBytes(of: &hash) { bytes in
          var key = MDB_val(mv_size: 32, mv_data: bytes.baseAddress)
          var value = MDB_val()
          let code = mdb_get(transaction, byHash, &key, &value)
          if code == 0 { found += 1 } else if code != MDB_NOTFOUND { try check(code) }
        }
      }
    }
    return found
  }

  func byteCount() throws -> UInt64 {
    // The used part: with a writable map the file itself is as long as the map.
    var info = MDB_envinfo()
    var status = MDB_stat()
    try check(mdb_env_info(environment, &info))
    try check(mdb_env_stat(environment, &status))
    return UInt64(info.me_last_pgno + 1) * UInt64(status.ms_psize)
  }
}
