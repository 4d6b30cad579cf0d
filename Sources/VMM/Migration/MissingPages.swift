// Guest memory that is filled while it is used: whoever touches a page that is not there waits for
// it, be it a processor, a device's thread or the kernel on their behalf.
//
// This is all that a machine does with its fault descriptor: what decides about pages stands above
// it, so that another process could hold the descriptor and do the same.

import GuestMemory
import Synchronization
import Transport
import Userfault
import Wire

/// The pages of a machine's RAM that have not come yet.
///
/// Filling and ending may be called from any thread.
final class MissingPages: Sendable {
  /// Whether this host lets memory be filled while it is used.
  static let isOffered = (try? Userfault.offeredFeatures()) != nil

  private let blocks: [RAMBlock]
  private let userfault: Userfault
  private let isEnded = Atomic<Bool>(false)

  /// How long the thread sleeps at most before it looks whether it is to end.
  private static let patienceMilliseconds: Int32 = 200

  /// Opens a fault descriptor; memory stays ordinary.
  /// - Parameter blocks: in the order in which pages name them.
  init(_ blocks: [RAMBlock]) throws {
    for block in blocks {
      if case .privateFile(let path) = block.backing {
        throw MachineError.refused(
          "the RAM block '\(block.name)' lies in \(path), whose pages cannot be filled while the "
            + "machine runs: send it whole")
      }
    }
    let isShared = blocks.contains { $0.backing == .sharedMemory }
    userfault = try Userfault(features: isShared ? .missingShmem : [])
    self.blocks = blocks
    // A huge page would bring its neighbours with it, and they would never be asked for.
    for block in blocks { try block.setHugePages(false) }
  }

  /// From now on whoever touches a page that is not there waits.
  ///
  /// - Parameter asking: called for each page that is waited for, on a thread of this object's own;
  ///   says whether the page has come already.
  func begin(_ asking: @escaping @Sendable (RAMPageAddress) -> Bool) throws {
    for block in blocks { try userfault.register(block.hostRange, modes: .missing) }
    _ = try NamedThread(name: "page-faults") { [self] in
      while !isEnded.load(ordering: .acquiring) {
        do throws(UserfaultError) {
          guard try userfault.wait(milliseconds: Self.patienceMilliseconds) else { continue }
          for event in try userfault.readEvents() { try take(event, asking) }
        } catch {
          // Only a descriptor that was closed or memory that is gone ends up here.
          end()
        }
      }
    }
  }

  private func take(
    _ event: UserfaultEvent, _ asking: (RAMPageAddress) -> Bool
  ) throws(UserfaultError) {
    guard case .pageFault(let address, _, _, _) = event,
      let index = blocks.firstIndex(where: { $0.hostRange.contains(address) })
    else { return }
    let block = blocks[index]
    let pageSize = UInt(block.pageSize)
    let offset = (address - block.hostAddress) / pageSize * pageSize
    guard asking(RAMPageAddress(blockIndex: index, offset: UInt64(offset))) else { return }
    // It came, and whoever waits was not woken by that, or the guest has given it back since.
    let range = block.hostAddress + offset..<block.hostAddress + offset + pageSize
    if try userfault.zero(range) == 0 { try userfault.wake(range) }
  }

  /// Fills a page, once.
  func fill(_ page: RAMPageAddress, with content: RawSpan) throws {
    let count = try userfault.copy(to: hostAddress(of: page), from: content)
    try check(count, content.byteCount, page)
  }

  /// Fills a page with zeros, once.
  func fillZero(_ page: RAMPageAddress) throws {
    let start = hostAddress(of: page)
    let byteCount = blocks[page.blockIndex].pageSize
    try check(try userfault.zero(start..<start + UInt(byteCount)), byteCount, page)
  }

  /// Memory is ordinary again; who waits goes on, and finds zeros where nothing came.
  func end() {
    guard !isEnded.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for block in blocks {
      // What cannot be unregistered was never registered.
      try? userfault.unregister(block.hostRange)
      try? block.setHugePages(true)
    }
  }

  private func hostAddress(of page: RAMPageAddress) -> UInt {
    let block = blocks[page.blockIndex]
    precondition(page.offset < UInt64(block.byteCount), "a page of its block")
    return block.hostAddress + UInt(page.offset)
  }

  private func check(_ count: Int, _ expected: Int, _ page: RAMPageAddress) throws {
    guard count == expected else {
      throw MachineError.refused(
        "the page at \(page.offset) of RAM block '\(blocks[page.blockIndex].name)' came, and "
          + "there is one already that nobody sent")
    }
  }
}

extension RAMBlock {
  /// Its addresses in this process.
  fileprivate var hostRange: Range<UInt> { hostAddress..<hostAddress + UInt(byteCount) }
}
