// Dirty pages from the kernel's page tables, for memory that no KVM owns.

public import GuestMemory
import Synchronization
import Userfault

/// Dirty pages by asynchronous write protection: `write-protect`.
///
/// Whoever in this process writes, and the kernel on its behalf, is noticed: vCPUs of a KVM too,
/// though KVM's own logs cost less there.
public final class WriteProtectLog: DirtyLog {
  /// The source's name.
  public let name = DirtyLogKind.writeProtect.rawValue
  /// Why it was chosen: a sentence.
  public let reason: String

  private struct Session {
    let userfault: Userfault
    let written: WrittenPages
    let blocks: [RAMBlock]
    var untouched: [RAMRange] = []
  }

  private let ram: RAMList
  private let session = Mutex<Session?>(nil)

  /// A log over all migratable blocks of a list.
  /// - Parameters:
  ///   - ram: the blocks that are there when the log is started are followed.
  ///   - reason: why this source: a sentence.
  public init(ram: RAMList, reason: String) {
    self.ram = ram
    self.reason = reason
  }

  /// Protects all memory.
  public func start() throws(GuestMemoryError) {
    try failing("Protecting guest memory") { () throws(UserfaultError) in
      var new = Session(
        userfault: try Userfault(features: .asynchronousTracking), written: try WrittenPages(),
        blocks: ram.blocks.filter(\.isMigratable))
      for block in new.blocks {
        try new.userfault.register(block.hostRange, modes: .writeProtect)
        var runs: [Range<UInt>] = []
        try new.written.protect(block.hostRange) { runs.append($0) }
        // What this process has not mapped may still have content where memory is shared.
        guard block.backing == .anonymous else { continue }
        new.untouched += runs.map(block.pages)
      }
      // Dropping the descriptor of an earlier session lifts what it protected.
      session.withLock { $0 = new }
    }
  }

  /// Pages of private memory that held nothing in the step that protected them.
  public var untouchedAtStart: [RAMRange] { session.withLock { $0?.untouched ?? [] } }

  /// Takes what was written since, and protects it again in the same step.
  /// - Returns: how many pages that were.
  @discardableResult
  public func sync() throws(GuestMemoryError) -> Int {
    try failing("Reading which pages were written") { () throws(UserfaultError) in
      try session.withLock { session throws(UserfaultError) in
        guard let session else { return 0 }
        var count = 0
        for block in session.blocks {
          try session.written.take(block.hostRange) { run in
            let pages = block.pages(run)
            block.dirty.setAll(pages, for: .migration)
            count += pages.pageCount
          }
        }
        return count
      }
    }
  }

  /// Nothing: ``sync()`` has protected the pages already.
  public func willSend(_ range: RAMRange) {}

  /// Lifts the protection.
  public func stop() throws(GuestMemoryError) {
    try failing("Lifting the protection of guest memory") { () throws(UserfaultError) in
      let old = session.withLock { session in
        defer { session = nil }
        return session
      }
      guard let old else { return }
      for block in old.blocks { try old.userfault.unregister(block.hostRange) }
    }
  }

  private func failing<R>(
    _ action: String, _ body: () throws(UserfaultError) -> R
  ) throws(GuestMemoryError) -> R {
    do throws(UserfaultError) {
      return try body()
    } catch {
      let text = "\(error)"
      throw .dirtyLogFailed(
        source: name, action: action, reason: text.hasSuffix(".") ? String(text.dropLast()) : text)
    }
  }
}

extension RAMBlock {
  /// Where it is in this process.
  fileprivate var hostRange: Range<UInt> { hostAddress..<hostAddress + UInt(byteCount) }

  /// Pages by where they are in this process.
  fileprivate func pages(_ addresses: Range<UInt>) -> RAMRange {
    ramRange(offset: Int(addresses.lowerBound - hostAddress), byteCount: addresses.count)
  }
}
