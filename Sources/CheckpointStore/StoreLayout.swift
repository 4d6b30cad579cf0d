// Where everything of a store lies in its folder.

/// The paths of a store.
struct StoreLayout: Sendable {
  let root: String

  static let folders = ["locks", "packs", "pages", "checkpoints", "sessions", "images"]

  var marker: String { root + "/godwit-store" }
  var catalogue: String { root + "/" + CatalogueSeal.catalogueName }
  var packs: String { root + "/packs" }
  var table: String { root + "/pages/table" }
  var slots: String { root + "/pages/slots" }
  var free: String { root + "/pages/free" }
  var checkpoints: String { root + "/checkpoints" }
  var sessions: String { root + "/sessions" }
  var images: String { root + "/images" }
  /// Held shared by every save from its first page to its end, exclusively by a collect.
  var writersLock: String { root + "/locks/writers" }
  /// Held by whoever changes the catalogue, the page table or the slots.
  var publishLock: String { root + "/locks/publish" }

  func manifest(_ id: String) -> String { checkpoints + "/" + id + ".manifest" }
  func demandOrder(_ id: String) -> String { checkpoints + "/" + id + ".order" }
  func session(_ id: String) -> String { sessions + "/" + id }
}

/// A new identity: 32 hexadecimal digits that nobody else has.
func newIdentity() -> String {
  var bytes: [UInt8] = []
  bytes.appendLittleEndian(UInt64.random(in: .min ... .max))
  bytes.appendLittleEndian(UInt64.random(in: .min ... .max))
  return hexadecimal(bytes)
}

/// The 16 bytes of an identity; zeros where it is not one.
func identityBytes(_ id: String) -> [UInt8] {
  let digits = id.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
  guard digits.count == 32, id.utf8.count == 32 else { return [UInt8](repeating: 0, count: 16) }
  return (0..<16).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
}
