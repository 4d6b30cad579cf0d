// What `query-migrate` answers.

import JSON
import MigrationEngine
import QMP
import Transport

extension MachineMonitor {
  static let migrationInfo = QMPObject(
    "MigrationInfo",
    [
      .optional("status", .enumeration(migrationStatus)), .optional("ram", .object(ramAccount)),
      .optional("total-time", .int), .optional("expected-downtime", .int),
      .optional("downtime", .int), .optional("setup-time", .int),
      .optional("cpu-throttle-percentage", .int), .optional("known-pages", .object(knownAccount)),
      .optional("error-desc", .string),
      .optional("blocked-reasons", .list(.string)),
      .optional("postcopy-blocktime", .integer(.uint32)),
      .optional("postcopy-vcpu-blocktime", .list(.integer(.uint32))),
      .optional("x-page-latency", .object(pageLatency)),
      .optional("socket-address", .list(.object(MigrationAddress.socketAddress))),
    ])

  /// How long pages took that the machine waited for; in microseconds.
  private static let pageLatency = QMPObject(
    "PageLatency",
    [
      .required("count", .size), .required("p50", .number), .required("p99", .number),
      .required("maximum", .number),
    ])

  /// Godwit's own: there only where the capability `x-known-pages` is on.
  private static let knownAccount = QMPObject(
    "KnownPagesStats",
    [
      .required("announced", .int), .required("hashed", .int), .required("missed", .int),
      .required("saved-bytes", .size),
    ])

  private static let ramAccount = QMPObject(
    "MigrationStats",
    [
      .required("transferred", .int), .required("remaining", .int), .required("total", .int),
      .required("duplicate", .int), .required("normal", .int), .required("normal-bytes", .int),
      .required("dirty-pages-rate", .int), .required("mbps", .number),
      .required("dirty-sync-count", .int), .required("postcopy-requests", .int),
      .required("page-size", .int), .required("multifd-bytes", .size),
      .required("pages-per-second", .size), .required("precopy-bytes", .size),
      .required("downtime-bytes", .size), .required("postcopy-bytes", .size),
      .required("dirty-sync-missed-zero-copy", .size),
      .required("x-excluded-pages", .size),
    ])
}

extension MigrationAccount {
  /// The account in QMP's form; an empty object where there has been no migration.
  var json: JSONValue {
    var members: [JSONMember] = []
    func add(_ name: String, _ value: Int?) {
      if let value { members.append(JSONMember(name, JSONValue(value))) }
    }
    if status != .none { members.append(JSONMember("status", .string(status.word))) }
    if let ram { members.append(JSONMember("ram", ram.json)) }
    add("total-time", totalMilliseconds)
    add("expected-downtime", expectedDowntimeMilliseconds)
    add("downtime", downtimeMilliseconds)
    add("setup-time", setupMilliseconds)
    add("cpu-throttle-percentage", throttlePercent)
    if let known {
      members.append(
        JSONMember(
          "known-pages",
          [
            "announced": JSONValue(known.announcedPageCount),
            "hashed": JSONValue(known.hashedPageCount),
            "missed": JSONValue(known.missedPageCount),
            "saved-bytes": JSONValue(known.savedByteCount),
          ]))
    }
    if let failure { members.append(JSONMember("error-desc", .string(failure))) }
    if !blockers.isEmpty {
      members.append(JSONMember("blocked-reasons", .array(blockers.map { .string($0) })))
    }
    add("postcopy-blocktime", blocktimeMilliseconds)
    if let times = processorBlocktimeMilliseconds {
      members.append(JSONMember("postcopy-vcpu-blocktime", .array(times.map { JSONValue($0) })))
    }
    if let pageLatency { members.append(JSONMember("x-page-latency", pageLatency.json)) }
    let addresses = listeningAddresses.compactMap(MigrationAddress.json)
    if !addresses.isEmpty { members.append(JSONMember("socket-address", .array(addresses))) }
    return .object(members)
  }
}

extension LatencySummary {
  /// The distribution in microseconds.
  fileprivate var json: JSONValue {
    func microseconds(_ time: Duration) -> JSONValue { .number(time / .microseconds(1)) }
    return [
      "count": JSONValue(count), "p50": microseconds(p50), "p99": microseconds(p99),
      "maximum": microseconds(maximum),
    ]
  }
}

extension MigrationAccount.RAM {
  /// The size of the guest's pages, in bytes.
  private static let pageByteCount: UInt64 = 4096

  var json: JSONValue {
    [
      "transferred": JSONValue(transferredByteCount), "remaining": JSONValue(remainingByteCount),
      "total": JSONValue(totalByteCount), "duplicate": JSONValue(zeroPageCount),
      "normal": JSONValue(normalPageCount),
      "normal-bytes": JSONValue(normalPageCount * Self.pageByteCount),
      "dirty-pages-rate": JSONValue(dirtyPagesPerSecond), "mbps": .number(megabitsPerSecond),
      "dirty-sync-count": JSONValue(dirtySyncCount),
      "postcopy-requests": JSONValue(postcopyRequestCount),
      "page-size": JSONValue(Self.pageByteCount), "multifd-bytes": 0,
      "pages-per-second": JSONValue(pagesPerSecond),
      "precopy-bytes": JSONValue(precopyByteCount),
      "downtime-bytes": JSONValue(downtimeByteCount),
      "postcopy-bytes": JSONValue(postcopyByteCount), "dirty-sync-missed-zero-copy": 0,
      "x-excluded-pages": JSONValue(excludedPageCount),
    ]
  }
}
