// What restores teach, as the engine orders pages and as the store keeps it.

import CheckpointStore
import MigrationCore
import Wire

extension DemandOrder {
  init(_ record: DemandRecord) {
    self.init(
      requested: record.requested.map {
        DemandedPage(RAMPageAddress($0.page), broughtBefore: $0.broughtBefore)
      },
      brought: record.brought.map {
        RAMPageRun(
          start: RAMPageAddress($0.first), byteCount: $0.pageCount * UInt64(storePageSize))
      })
  }

  /// The order in the store's words.
  var record: DemandRecord {
    DemandRecord(
      requested: requested.map {
        RequestedPage(page: PageName($0.address), broughtBefore: $0.broughtBefore)
      },
      brought: brought.map {
        BroughtPages(
          first: PageName($0.start),
          pageCount: ($0.byteCount + UInt64(storePageSize) - 1) / UInt64(storePageSize))
      })
  }
}

extension RAMPageAddress {
  fileprivate init(_ page: PageName) {
    self.init(blockIndex: page.block, offset: page.offset)
  }
}

extension PageName {
  fileprivate init(_ address: RAMPageAddress) {
    self.init(block: address.blockIndex, offset: address.offset)
  }
}
