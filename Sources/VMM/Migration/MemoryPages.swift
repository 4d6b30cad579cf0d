// A machine's own memory as pages that it holds already, for one that comes back.

import GuestMemory
import MigrationEngine
import Transport

extension HashedPages {
  /// What lies in a block of a machine's memory.
  convenience init(ofMemory block: RAMBlock) throws {
    // By its file, since a look into the mapping would make the pages that are not there.
    if let memory = try block.duplicateDescriptor() {
      try self.init(memory: memory, name: "The RAM block '\(block.name)'")
    } else {
      self.init(MemoryPages(block))
    }
  }
}

/// The pages of a block that no other process can map.
private final class MemoryPages: NumberedPages {
  private let block: RAMBlock

  init(_ block: RAMBlock) { self.block = block }

  var pageCount: Int { block.pageCount }

  func read(from page: Int, into room: inout MutableRawSpan) -> Int {
    let size = MachineDestination.pageByteCount
    let count = min(room.byteCount / size, pageCount - page)
    guard count > 0 else { return 0 }
    var part = room._mutatingExtracting(first: count * size)
    do {
      try block.read(offset: page * size, into: &part)
      return count
    } catch {
      return 0
    }
  }
}
