// A digest over the catalogue's file, so that no flipped byte of it passes unnoticed.

import Glibc
import PageHash
import Synchronization

/// The file `catalogue.seal`: SHA-256 of the catalogue as the last commit left it, or the mark that
/// a commit is on its way.
///
/// All calls are made with the publish lock held.
///
/// 8 bytes magic, 8 bytes state (0 closed, 1 changing), 32 bytes digest of the catalogue, 32 bytes
/// digest of these 48.
final class CatalogueSeal: Sendable {
  static let catalogueName = "catalogue.sqlite"
  private static let name = "catalogue.seal"
  private static let magic: [UInt8] = Array("GWSEAL01".utf8)

  private let cataloguePath: String
  private let path: String

  init(catalogue path: String) {
    cataloguePath = path
    self.path = String(path.dropLast("sqlite".count)) + "seal"
  }

  /// POSIX lets go of every lock a process has on a file when it closes any descriptor of it, and
  /// SQLite's locks are of that kind: a descriptor of a catalogue, once open, stays open.
  private static let catalogues = Mutex<[String: File]>([:])

  private func catalogueDigest() throws(StoreError) -> ContentHash {
    var file = CatalogueSeal.catalogues.withLock { $0[cataloguePath] }
    if let known = file, try !known.isAt(cataloguePath) { file = nil }
    let open: File
    if let file {
      open = file
    } else {
      open = try File.open(cataloguePath, O_RDONLY, doing: "opening the catalogue")
      CatalogueSeal.catalogues.withLock { $0[cataloguePath] = open }
    }
    let digester = try Digester.make()
    digester.begin()
    var offset: UInt64 = 0
    while true {
      let piece = try open.read(count: 1 << 16, at: offset)
      if piece.isEmpty { return digester.finish() }
      digester.update(piece)
      offset += UInt64(piece.count)
    }
  }

  private func read() throws(StoreError) -> (changing: Bool, digest: ContentHash)? {
    let file = try File.open(path, O_RDONLY, doing: "opening the catalogue's seal")
    let bytes = try file.read(count: 81, at: 0)
    guard bytes.count == 80, Array(bytes[0..<8]) == CatalogueSeal.magic else { return nil }
    var reader = FieldReader(bytes, from: 8)
    guard let state = reader.next(UInt64.self), state <= 1, let digest = reader.nextHash(),
      let check = reader.nextHash(), try Digester.make().hash(Array(bytes[0..<48])) == check
    else { return nil }
    return (state == 1, digest)
  }

  private func write(changing: Bool, _ digest: ContentHash) throws(StoreError) {
    var bytes = CatalogueSeal.magic
    bytes.appendLittleEndian(UInt64(changing ? 1 : 0))
    bytes += digest.bytes
    bytes += try Digester.make().hash(bytes).bytes
    let file = try File.open(path, O_WRONLY | O_CREAT, doing: "opening the catalogue's seal")
    try file.write(bytes, at: 0)
    try file.sync()
  }

  /// Whether a commit began and nobody wrote down that it ended.
  var isChanging: Bool { ((try? read()) ?? nil)?.changing ?? true }

  /// What does not fit, if anything: the seal itself, or the catalogue and its seal.
  func check() throws(StoreError) -> Damage? {
    guard let sealed = try read() else {
      return Damage(file: CatalogueSeal.name, what: "it is not what was written")
    }
    // A commit was cut off: SQLite undoes it or has finished it, and each row proves itself.
    if sealed.changing { return nil }
    guard try catalogueDigest() == sealed.digest else {
      return Damage(
        file: CatalogueSeal.catalogueName, what: "its bytes are not those of the last commit")
    }
    return nil
  }

  /// Notes that the catalogue is about to change.
  func open() throws(StoreError) { try write(changing: true, .none) }

  /// Notes what the catalogue is now.
  func close() throws(StoreError) { try write(changing: false, try catalogueDigest()) }
}
