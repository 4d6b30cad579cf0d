// The parameters of migrations: each one's name, shape, default, bounds and unit, in one place.

import JSON
import QMP

/// A migration parameter.
struct MigrationParameter: Sendable {
  /// QEMU's name of it.
  let name: String
  /// What it takes.
  let type: QMPType
  /// Its value where nobody set it.
  let standard: JSONValue
  /// The values that a whole number may have; nil where the type's own bounds hold.
  let bounds: ClosedRange<UInt64>?
  /// What the human monitor prints after the value, such as ` ms`.
  let unit: String
  /// Why no other value than the standard one is taken; nil where others are.
  let onlyStandard: String?

  init(
    _ name: String, _ type: QMPType, _ standard: JSONValue, bounds: ClosedRange<UInt64>? = nil,
    unit: String = "", onlyStandard: String? = nil
  ) {
    self.name = name
    self.type = type
    self.standard = standard
    self.bounds = bounds
    self.unit = unit
    self.onlyStandard = onlyStandard
  }

  /// Refuses a value that the parameter cannot have; its type was checked before.
  func check(_ value: JSONValue) throws(QMPRefusal) {
    if let bounds, let number = value.uint64, !bounds.contains(number) {
      throw QMPRefusal(
        "Parameter '\(name)' expects an integer in the range of \(bounds.lowerBound) to "
          + "\(bounds.upperBound)")
    }
    if let onlyStandard, value != standard {
      throw QMPRefusal("Parameter '\(name)' stays \(standard) on this machine: \(onlyStandard)")
    }
  }

  /// Refuses values that do not go together, in QEMU's words.
  static func check(_ options: MigrationOptions) throws(QMPRefusal) {
    let first = options["cpu-throttle-initial"].uint64 ?? 0
    guard options["max-cpu-throttle"].uint64 ?? 0 >= first else {
      throw QMPRefusal(
        "Parameter 'max_cpu_throttle' expects an integer in the range of cpu_throttle_initial "
          + "to 99")
    }
    guard options["vcpu-dirty-limit"].uint64 ?? 0 >= 1 else {
      throw QMPRefusal("Parameter 'vcpu_dirty_limit' must be greater than 1 MB/s")
    }
  }

  private static let noTLS = "it sends in the clear; use a tunnel or a local socket"
  private static let noChannels = "it sends over one channel"
  private static let noCache = "it sends whole pages"
  private static let text = QMPType.alternate(name: "StrOrNull", [.string, .null])
  private static let percent = QMPType.integer(.uint8)

  /// All of them, in the order in which they are listed.
  static let all: [MigrationParameter] = [
    MigrationParameter("announce-initial", .size, 50, bounds: 0...100_000, unit: " ms"),
    MigrationParameter("announce-max", .size, 550, bounds: 0...100_000, unit: " ms"),
    MigrationParameter("announce-rounds", .size, 5, bounds: 0...1000),
    MigrationParameter("announce-step", .size, 100, bounds: 0...10_000, unit: " ms"),
    MigrationParameter(
      "throttle-trigger-threshold", percent, 50, bounds: 1...100),
    MigrationParameter(
      "cpu-throttle-initial", percent, 20, bounds: 1...99),
    MigrationParameter(
      "cpu-throttle-increment", percent, 10, bounds: 1...99),
    MigrationParameter("cpu-throttle-tailslow", .boolean, false),
    MigrationParameter(
      "max-cpu-throttle", percent, 99, bounds: 1...99),
    MigrationParameter("tls-creds", text, "", onlyStandard: noTLS),
    MigrationParameter("tls-hostname", text, "", onlyStandard: noTLS),
    MigrationParameter("tls-authz", text, "", onlyStandard: noTLS),
    MigrationParameter("max-bandwidth", .size, 134_217_728, unit: " bytes/second"),
    MigrationParameter("avail-switchover-bandwidth", .size, 0, unit: " bytes/second"),
    MigrationParameter("downtime-limit", .size, 300, bounds: 0...2_000_000, unit: " ms"),
    MigrationParameter(
      "x-checkpoint-delay", .integer(.uint32), 20_000, unit: " ms",
      onlyStandard: "it has no continuous replication"),
    MigrationParameter(
      "multifd-channels", .integer(.uint8), 2, bounds: 1...255, onlyStandard: noChannels),
    MigrationParameter(
      "multifd-compression", .enumeration(QMPEnumeration("MultiFDCompression", ["none"])),
      "none"),
    MigrationParameter(
      "multifd-zlib-level", .integer(.uint8), 1, bounds: 0...9, onlyStandard: noChannels),
    MigrationParameter(
      "multifd-zstd-level", .integer(.uint8), 1, bounds: 0...20, onlyStandard: noChannels),
    MigrationParameter(
      "xbzrle-cache-size", .size, 67_108_864, unit: " bytes", onlyStandard: noCache),
    MigrationParameter("max-postcopy-bandwidth", .size, 0),
    MigrationParameter(
      "x-vcpu-dirty-limit-period", .size, 1000, bounds: 1...1000, unit: " ms"),
    MigrationParameter("vcpu-dirty-limit", .size, 1, unit: " MB/s"),
    MigrationParameter("mode", .enumeration(QMPEnumeration("MigMode", ["normal"])), "normal"),
    MigrationParameter(
      "zero-page-detection",
      .enumeration(QMPEnumeration("ZeroPageDetection", ["none", "legacy", "multifd"])), "legacy",
      onlyStandard: "pages of zeros are found by the thread that sends"),
    MigrationParameter("x-exclude-bitmap", text, ""),
    MigrationParameter(
      "direct-io", .boolean, false, onlyStandard: "files are written through the page cache"),
  ]
}

extension MigrationOptions {
  /// No capability on, every parameter as QEMU has it.
  public static let standard = MigrationOptions(
    parameters: MigrationParameter.all.map { JSONMember($0.name, $0.standard) })
}
