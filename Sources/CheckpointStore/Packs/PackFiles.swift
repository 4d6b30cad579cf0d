// The packs of a store: their names, new numbers, and reading from any of them.

import Glibc
import Synchronization

/// The folder of packs: append-only files of at most 1 GiB, each written by one thread of one save.
final class PackFiles: Sendable {
  static let headerSize: UInt64 = 4096
  /// A pack is not begun beyond this; the offset of a page must fit 30 bits.
  static let byteLimit: UInt64 = PageLocation.offsetLimit
  private static let openLimit = 128

  let folder: String
  private let open = Mutex<[UInt32: File]>([:])

  init(folder: String) { self.folder = folder }

  /// A pack's file name: its number in eight hexadecimal digits.
  static func name(_ number: UInt32) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: max(0, 8 - digits.count)) + digits + ".pack"
  }

  /// The number that a file name stands for.
  static func number(_ name: String) -> UInt32? {
    guard name.hasSuffix(".pack") else { return nil }
    guard let number = UInt32(name.dropLast(5), radix: 16), self.name(number) == name else {
      return nil
    }
    return number
  }

  /// The header: magic, format, the pack's number, zeros.
  static func header(_ number: UInt32) -> [UInt8] {
    var bytes = Array("GWPACK01".utf8)
    bytes.appendLittleEndian(UInt32(1))
    bytes.appendLittleEndian(number)
    bytes += [UInt8](repeating: 0, count: Int(headerSize) - bytes.count)
    return bytes
  }

  func path(_ number: UInt32) -> String { folder + "/" + PackFiles.name(number) }

  /// The packs there are.
  func numbers() throws(StoreError) -> [UInt32] {
    try Folder.names(in: folder).compactMap(PackFiles.number).sorted()
  }

  /// Begins a pack under a number that nobody else has.
  func create() throws(StoreError) -> (number: UInt32, file: File) {
    var number = (try numbers().last ?? 0) + 1
    while UInt64(number) < PageLocation.packLimit {
      do throws(StoreError) {
        let file = try File.open(path(number), O_RDWR | O_CREAT | O_EXCL, doing: "making a pack")
        try file.write(PackFiles.header(number), at: 0)
        return (number, file)
      } catch {
        guard case .system(_, _, EEXIST) = error else { throw error }
        number += 1
      }
    }
    throw .invalidRequest("the store has as many packs as its format can number: begin another.")
  }

  /// An open pack; nil when there is none of that number.
  func pack(_ number: UInt32) throws(StoreError) -> File? {
    if let file = open.withLock({ $0[number] }) { return file }
    let file: File
    do throws(StoreError) {
      file = try File.open(path(number), O_RDONLY, doing: "opening a pack")
    } catch {
      guard case .system(_, _, ENOENT) = error else { throw error }
      return nil
    }
    open.withLock { files in
      if files.count >= PackFiles.openLimit { files.removeAll() }
      files[number] = file
    }
    return file
  }

  /// Closes a pack, so that the next read opens what now has its name.
  func forget(_ number: UInt32) {
    open.withLock { _ = $0.removeValue(forKey: number) }
  }

  /// Closes all packs.
  func forgetAll() {
    open.withLock { $0.removeAll() }
  }
}
