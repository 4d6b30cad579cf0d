// The file that makes a folder a store, and making one.

import Glibc

/// `godwit-store`: three lines of text, written last when a store is made.
enum StoreMarker {
  private static func text(id: String) -> String {
    "Godwit checkpoint store\nformat \(StoreLimits.format)\nid \(id)\n"
  }

  /// Makes a store in a folder that is missing or empty.
  static func make(_ layout: StoreLayout) throws(StoreError) {
    try Folder.makeWithParents(layout.root)
    let known = Set(StoreLayout.folders + ["catalogue.sqlite", "catalogue.seal"])
    let names = try Folder.names(in: layout.root)
    let strangers = names.filter {
      !known.contains($0) && !$0.hasPrefix("catalogue.sqlite") && !$0.hasPrefix("godwit-store")
    }
    if let stranger = strangers.first {
      throw .notAStore(path: layout.root, reason: "it holds other files (\(stranger))")
    }
    try Folder.make(layout.root + "/locks")
    let lock = try FileLock.wait(layout.publishLock, .exclusive)
    defer { withExtendedLifetime(lock) {} }
    // Another process may have made it while this one waited.
    if Folder.exists(layout.marker) { return }
    for folder in StoreLayout.folders { try Folder.make(layout.root + "/" + folder) }
    for leftover in ["", "-journal"] { try Folder.removeFile(layout.catalogue + leftover) }
    let id = newIdentity()
    try PageTable.create(layout.table).file.sync()
    try Catalogue.create(layout.catalogue, storeID: id)
    try Folder.sync(layout.root + "/pages")
    try Folder.replace(layout.marker, with: Array(text(id: id).utf8))
  }

  /// The store's identity; throws where the marker is not one that this Godwit understands.
  static func check(_ layout: StoreLayout) throws(StoreError) -> String {
    let bytes = try File.open(layout.marker, O_RDONLY).read(count: 4096, at: 0)
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    guard lines.count == 3, lines[1].hasPrefix("format "), lines[2].hasPrefix("id "),
      let format = UInt32(lines[1].dropFirst(7))
    else { throw .notAStore(path: layout.root, reason: "its file godwit-store cannot be read") }
    guard format <= StoreLimits.format else {
      throw .newerFormat(path: layout.root, found: format, supported: StoreLimits.format)
    }
    let id = String(lines[2].dropFirst(3))
    guard bytes == Array(text(id: id).utf8) else {
      throw .damaged(Damage(file: "godwit-store", what: "it is not what was written"))
    }
    return id
  }
}
