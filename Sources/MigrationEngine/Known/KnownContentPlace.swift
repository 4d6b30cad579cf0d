// Where known content lies, as a person names it and as another process can be told.

/// A place of known content; a plain value, so that whoever receives can open it for itself.
public enum KnownContentPlace: Sendable, Hashable {
  /// A checkpoint of a store.
  case checkpoint(name: String, store: String)
  /// A memory dump in ELF form (`dump-guest-memory`, of Godwit's own machine or QEMU's).
  case elf(path: String)
  /// A file of pages one after the other: an image of memory, a memory back end's file.
  case raw(path: String)

  /// A place as it is written: `checkpoint:NAME`, `elf:FILE`, `raw:FILE`, or `store:FOLDER/NAME`
  /// for a checkpoint of a store that is named with it; nil for anything else.
  ///
  /// - Parameters:
  ///   - text: what was written.
  ///   - store: the folder of the store that checkpoints are looked for in.
  public init?(_ text: String, store: String = "") {
    guard let colon = text.firstIndex(of: ":") else { return nil }
    let rest = String(text[text.index(after: colon)...])
    guard !rest.isEmpty else { return nil }
    switch text[..<colon] {
    case "checkpoint": self = .checkpoint(name: rest, store: store)
    case "store":
      guard let slash = rest.lastIndex(of: "/"), slash > rest.startIndex,
        rest.index(after: slash) < rest.endIndex
      else { return nil }
      self = .checkpoint(
        name: String(rest[rest.index(after: slash)...]), store: String(rest[..<slash]))
    case "elf": self = .elf(path: rest)
    case "raw": self = .raw(path: rest)
    default: return nil
    }
  }

  /// The place as it is written, complete: for another process.
  public var text: String {
    switch self {
    case .checkpoint(let name, let store): "store:\(store)/\(name)"
    case .elf(let path): "elf:\(path)"
    case .raw(let path): "raw:\(path)"
    }
  }

  /// Opens what lies there, where that is a file; checkpoints are opened by whoever knows stores.
  ///
  /// - Returns: the content; nil for a checkpoint.
  public func openFile() throws(KnownContentError) -> (any KnownContent)? {
    switch self {
    case .checkpoint: nil
    case .elf(let path): HashedPages(try PageFile(dump: path))
    case .raw(let path): HashedPages(try PageFile(raw: path))
    }
  }
}

/// Known content that cannot be used, as a sentence.
public struct KnownContentError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What was being read, what is wrong with it, and what to do.
  public let description: String

  /// An error about something with a name.
  public init(_ what: String, _ reason: String) {
    description = "\(what) cannot serve as known pages: \(reason)"
  }
}
