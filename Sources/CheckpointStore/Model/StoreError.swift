// What can go wrong in a store, each as a sentence for the person who has to act on it.

/// A failure of a store operation; its `description` says what was being done, to what, what was
/// found, and what to do next.
public enum StoreError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A system call failed: what was being done, the file, and the C error number.
  case system(doing: String, path: String, code: Int32)
  /// The folder exists and is not a store, or there is no store and none was to be made.
  case notAStore(path: String, reason: String)
  /// The store was written by a newer Godwit.
  case newerFormat(path: String, found: UInt32, supported: UInt32)
  /// A checkpoint of that name is listed already.
  case nameTaken(String)
  /// The name cannot be used.
  case invalidName(String, reason: String)
  /// No checkpoint of that name is listed.
  case noSuchCheckpoint(String, store: String)
  /// Stored bytes are not what was written.
  case damaged(Damage)
  /// The catalogue (SQLite) refused or failed.
  case catalogue(path: String, reason: String)
  /// Another process holds what is needed: the process ids that say so.
  case busy(doing: String, holders: [Int32])
  /// A caller asked for what the checkpoint does not have: a block, a range, an order of calls.
  case invalidRequest(String)

  /// One sentence: what was being done, to what, what was found, what to do.
  public var description: String {
    switch self {
    case .system(let doing, let path, let code):
      return "\(doing) failed on \(path): \(StoreError.explain(code))"
    case .notAStore(let path, let reason):
      return "\(path) is not a Godwit store: \(reason). Name another folder with --store."
    case .newerFormat(let path, let found, let supported):
      return "the store \(path) has format \(found), and this Godwit reads up to \(supported): "
        + "use a newer Godwit."
    case .nameTaken(let name):
      return "a checkpoint named \"\(name)\" exists already: choose another name, or delete it "
        + "with `godwit delete \(name)`."
    case .invalidName(let name, let reason):
      return "\"\(name)\" cannot name a checkpoint: \(reason)."
    case .noSuchCheckpoint(let name, let store):
      return "there is no checkpoint named \"\(name)\" in \(store): `godwit list` shows those "
        + "there are."
    case .damaged(let damage):
      return damage.description + ". `godwit verify` tells what else is."
    case .catalogue(let path, let reason):
      return "the catalogue \(path) cannot be used: \(reason)."
    case .busy(let doing, let holders):
      let who =
        holders.isEmpty
        ? "another process" : holders.map { "process \($0)" }.joined(separator: ", ")
      return "\(doing) has to wait for \(who): try again when it has finished."
    case .invalidRequest(let sentence):
      return sentence
    }
  }
}

/// One place of a store that does not hold what was written there.
public struct Damage: Error, Hashable, Sendable, CustomStringConvertible {
  /// The checkpoint whose content is concerned, when one is known.
  public var checkpoint: String?
  /// The RAM block's name, when the damage concerns a page of one.
  public var block: String?
  /// The byte offset of the page in its block, when the damage concerns a page.
  public var pageOffset: UInt64?
  /// The file in which the damage lies, relative to the store's folder.
  public var file: String
  /// What was expected and what was found.
  public var what: String

  /// Makes a damage from where it lies and what was found.
  public init(
    checkpoint: String? = nil, block: String? = nil, pageOffset: UInt64? = nil, file: String,
    what: String
  ) {
    self.checkpoint = checkpoint
    self.block = block
    self.pageOffset = pageOffset
    self.file = file
    self.what = what
  }

  /// One sentence: which checkpoint, block and page, where, and what was found.
  public var description: String {
    var place = ""
    if let checkpoint { place += "checkpoint \"\(checkpoint)\"" }
    if let block { place += (place.isEmpty ? "" : ", ") + "block \(block)" }
    if let pageOffset { place += ", page at 0x\(String(pageOffset, radix: 16))" }
    let lead = place.isEmpty ? "" : place + ": "
    return "\(lead)damaged in \(file): \(what)"
  }
}
