// Byte counts as people read them.

/// Renders byte counts in powers of 1024, the unit in which guest memory is bought and sold.
public enum ByteCount {
  /// `4 KiB`, `1.5 GiB`; exact to one decimal place.
  public static func text(_ bytes: UInt64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    let tenths = Int((value * 10).rounded())
    let number = tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    return "\(number) \(units[unit])"
  }

  /// The argument of QEMU's `-m` for a memory of this size, in MiB or, where uneven, in KiB.
  static func megabytes(_ bytes: UInt64) -> String {
    bytes % (1 << 20) == 0 ? "\(bytes >> 20)M" : "\(bytes >> 10)k"
  }
}
