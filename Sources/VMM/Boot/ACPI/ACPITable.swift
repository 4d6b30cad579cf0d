// The tables by which a PC's firmware describes it, as far as this machine needs them.

import GuestMemory

/// One ACPI table: 36 bytes of header, and what it says.
enum ACPITable {
  static let headerByteCount = 36

  /// A table of that signature, with its checksum right.
  ///
  /// - Parameters:
  ///   - signature: four letters.
  ///   - revision: of the table's own format.
  ///   - body: what follows the header.
  static func make(_ signature: String, revision: UInt8, body: [UInt8]) -> [UInt8] {
    var table = LittleEndianBytes(signature.utf8)
    table.append(UInt32(headerByteCount + body.count))
    table.append(revision)
    table.append(0 as UInt8)  // the checksum's place
    table.append("GODWIT".utf8)
    table.append("MACHINE ".utf8)
    table.append(1 as UInt32)
    table.append("GDWT".utf8)
    table.append(1 as UInt32)
    table.append(body)
    table.put(checksum(of: table.bytes), at: 9)
    return table.bytes
  }

  /// The byte that makes the sum of all bytes zero.
  static func checksum(of bytes: some Sequence<UInt8>) -> UInt8 {
    0 &- bytes.reduce(0) { $0 &+ $1 }
  }
}
