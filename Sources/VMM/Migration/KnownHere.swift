// What a waiting machine holds already of the one that arrives.

import MigrationEngine

/// Places of pages that are held here, and how they are opened.
struct KnownHere: Sendable {
  let places: [KnownContentPlace]
  let open: @Sendable (KnownContentPlace) throws -> (any KnownContent)?

  /// Opens all of them, and begins with what takes long.
  func contents() throws(MachineError) -> [any KnownContent] {
    var contents: [any KnownContent] = []
    for place in places {
      do {
        guard let content = try open(place) else {
          throw MachineError.refused("nothing here can open '\(place.text)'")
        }
        content.prepare()
        contents.append(content)
      } catch let error as MachineError {
        throw error
      } catch {
        throw .refused("\(error)")
      }
    }
    return contents
  }

  /// What tells a pager's command of them.
  var arguments: [String] {
    ["--takes-known-pages"] + places.flatMap { ["--known", $0.text] }
  }
}
