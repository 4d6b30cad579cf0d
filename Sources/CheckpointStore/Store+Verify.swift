// Reading everything back: what is damaged, and whose it is.

import Glibc
import Synchronization

extension Store {
  /// Reads all that a checkpoint (or every one) needs, and says what is not as it was written.
  ///
  /// Saves may go on meanwhile; a collect waits.
  ///
  /// - Parameters:
  ///   - name: one checkpoint; nil for all, and for what belongs to none.
  ///   - progress: told, on the calling thread, how much of the page table has been gone through.
  public func verify(
    _ name: String? = nil, progress: (StoreProgress) -> Void = { _ in }
  ) throws(StoreError) -> VerifyReport {
    let lock = try FileLock.wait(layout.writersLock, .shared)
    defer { withExtendedLifetime(lock) {} }
    var report = VerifyReport()
    guard let survey = try surveyCatalogue(&report) else { return report }
    var rows = survey.rows
    if let name {
      rows = rows.filter { $0.info.name == name }
      // Where the catalogue itself is damaged, the report says so already.
      guard !rows.isEmpty || !report.isClean else {
        throw .noSuchCheckpoint(name, store: path)
      }
    }
    let length = try PageTable.open(layout.table, writable: false).entryCount()
    var wanted = AtomicBits(count: Int(max(length, survey.head?.tableLength ?? 0)) + 1)
    var manifests: [Manifest] = []
    for row in rows {
      report.checkpoints += 1
      guard let manifest = openForVerify(row, &report) else { continue }
      try surveyManifest(manifest, &wanted, &report)
      manifests.append(manifest)
    }
    if name == nil, let head = survey.head { try wantUnreferenced(head, &wanted, &report) }
    let bad = try readPages(wanted, &report, progress)
    if !bad.isEmpty {
      var left = bad
      for manifest in manifests { try attribute(bad, manifest, &left, &report) }
      for (_, damage) in left.sorted(by: { $0.key < $1.key }) { report.add(damage) }
    }
    for row in rows { try checkBeside(row, &report) }
    if name == nil { try checkIndex(&report) }
    return report
  }

  /// Turns the failures that are findings into damages; throws the others.
  private func note(_ error: StoreError, in report: inout VerifyReport) throws(StoreError) {
    switch error {
    case .damaged(let damage): report.add(damage)
    case .system(let doing, let path, EIO):
      report.add(
        Damage(file: Manifest.relative(path), what: "\(doing) fails: the disk gives an I/O error"))
    default: throw error
    }
  }

  private func surveyCatalogue(
    _ report: inout VerifyReport
  ) throws(StoreError) -> (rows: [CatalogueRow], head: CatalogueHead?)? {
    do throws(StoreError) {
      return try withPublishLock { () throws(StoreError) in
        if let damage = try catalogue.checkSeal() { report.add(damage) }
        let survey = try catalogue.survey()
        for damage in survey.damages { report.add(damage) }
        var head: CatalogueHead?
        do throws(StoreError) {
          let found = try catalogue.head()
          if let damage = try FreeList.check(layout.free, found) { report.add(damage) }
          if try StoreMarker.check(layout) != found.storeID {
            report.add(Damage(file: "godwit-store", what: "its id is not the catalogue's"))
          }
          head = found
        } catch { try note(error, in: &report) }
        return (survey.rows, head)
      }
    } catch {
      if case .catalogue(_, let reason) = error {
        report.add(Damage(file: CatalogueSeal.catalogueName, what: reason))
      } else {
        try note(error, in: &report)
      }
      return nil
    }
  }

  private func openForVerify(_ row: CatalogueRow, _ report: inout VerifyReport) -> Manifest? {
    let file = "checkpoints/\(row.info.id).manifest"
    do throws(StoreError) {
      if let manifest = try Manifest.open(
        layout.manifest(row.info.id), name: row.info.name, digest: row.manifestDigest)
      {
        guard manifest.description.info == row.info else {
          report.add(
            Damage(
              checkpoint: row.info.name, file: file,
              what: "it does not say what the catalogue says"))
          return manifest
        }
        return manifest
      }
      report.add(
        Damage(checkpoint: row.info.name, file: file, what: "the manifest is missing"))
    } catch {
      if case .damaged(let damage) = error {
        report.add(damage)
      } else {
        report.add(Damage(checkpoint: row.info.name, file: file, what: error.description))
      }
    }
    return nil
  }

  /// Marks the pages that a manifest needs.
  private func surveyManifest(
    _ manifest: Manifest, _ wanted: inout AtomicBits, _ report: inout VerifyReport
  ) throws(StoreError) {
    do throws(StoreError) {
      if let damage = try manifest.checkPadding() { report.add(damage) }
    } catch { try note(error, in: &report) }
    let info = manifest.description.info
    for block in info.blocks.indices {
      report.pages += info.blocks[block].byteCount / UInt64(storePageSize)
      try manifest.forEachPage(
        block: block,
        { (page, reference) throws(StoreError) in
          guard reference != .zero else { return }
          guard reference.number < UInt64(wanted.count) else {
            report.add(
              Damage(
                checkpoint: info.name, block: info.blocks[block].name,
                pageOffset: page * UInt64(storePageSize), file: "pages/table",
                what: "it ends before entry \(reference.number)"))
            return
          }
          guard wanted.set(Int(reference.number)) else { return }
          let entry = try index.table.entry(reference.number)
          if entry.isFree || entry.hash.fingerprint != reference.fingerprint {
            report.add(
              Damage(
                checkpoint: info.name, block: info.blocks[block].name,
                pageOffset: page * UInt64(storePageSize), file: "pages/table",
                what: "entry \(reference.number) is not the page that was stored"))
          }
        }, failed: { (error) throws(StoreError) in try note(error, in: &report) })
    }
  }

  /// Reads every wanted page; the damaged ones.
  private func readPages(
    _ wanted: AtomicBits, _ report: inout VerifyReport, _ progress: (StoreProgress) -> Void
  ) throws(StoreError) -> [UInt64: Damage] {
    let findings = Mutex(Findings())
    try inParallel(
      wanted.count, step: 4096,
      progress: { done in
        progress(StoreProgress(done: UInt64(done), total: UInt64(wanted.count)))
      },
      { (part) throws(StoreError) in
        let found = try self.readPages(wanted, part)
        findings.withLock { $0.add(found) }
      })
    let all = findings.withLock { $0 }
    report.storedPages += all.pages
    report.bytesRead += all.bytes
    for number in all.packs.sorted() { try checkHeader(ofPack: number, &report) }
    return all.bad
  }

  /// What reading a part of the pages has shown.
  private struct Findings: Sendable {
    var pages: UInt64 = 0
    var bytes: UInt64 = 0
    var packs: Set<UInt32> = []
    var bad: [UInt64: Damage] = [:]

    mutating func add(_ other: Findings) {
      pages += other.pages
      bytes += other.bytes
      packs.formUnion(other.packs)
      bad.merge(other.bad) { first, _ in first }
    }
  }

  private func readPages(
    _ wanted: AtomicBits, _ part: Range<Int>
  ) throws(StoreError) -> Findings {
    var findings = Findings()
    let page = PageBuffer(pageCount: 1)
    for number in part where number > 0 && wanted[number] {
      findings.pages += 1
      do throws(StoreError) {
        let entry = try index.table.entry(UInt64(number))
        let damage = try page.withMutableBytes(0..<storePageSize) {
          (bytes) throws(StoreError) in
          try source.read(entry, number: UInt64(number), into: &bytes)
        }
        if let damage { findings.bad[UInt64(number)] = damage }
        findings.bytes += UInt64(entry.location.length)
        findings.packs.insert(entry.location.pack)
      } catch {
        guard case .system(let doing, let path, EIO) = error else { throw error }
        findings.bad[UInt64(number)] = Damage(
          file: Manifest.relative(path), what: "\(doing) fails: the disk gives an I/O error")
      }
    }
    return findings
  }

  /// Says of damaged pages where a checkpoint has them.
  private func attribute(
    _ bad: [UInt64: Damage], _ manifest: Manifest, _ left: inout [UInt64: Damage],
    _ report: inout VerifyReport
  ) throws(StoreError) {
    let info = manifest.description.info
    for block in info.blocks.indices {
      try manifest.forEachPage(
        block: block,
        { (page, reference) throws(StoreError) in
          guard var damage = bad[reference.number] else { return }
          left[reference.number] = nil
          damage.checkpoint = info.name
          damage.block = info.blocks[block].name
          damage.pageOffset = page * UInt64(storePageSize)
          report.add(damage)
        }, failed: { _ in })
    }
  }

  private func checkHeader(
    ofPack number: UInt32, _ report: inout VerifyReport
  ) throws(StoreError) {
    // A pack that is missing is reported with each of its pages.
    guard let pack = try packs.pack(number) else { return }
    let size = Int(PackFiles.headerSize)
    guard try pack.read(count: size, at: 0) != PackFiles.header(number) else { return }
    report.add(
      Damage(file: "packs/" + PackFiles.name(number), what: "its header is not what was written"))
  }

  /// Marks the pages that no checkpoint needs but the next save might find: they must be sound too.
  private func wantUnreferenced(
    _ head: CatalogueHead, _ wanted: inout AtomicBits, _ report: inout VerifyReport
  ) throws(StoreError) {
    do throws(StoreError) {
      let freed = try FreeList.bits(layout.free, head)
      try index.table.forEach(upTo: head.tableLength) { (number, entry) throws(StoreError) in
        if !entry.isFree && !freed[Int(number)] { wanted.set(Int(number)) }
      }
    } catch { try note(error, in: &report) }
  }

  /// Looks up every page in the slots, as a save would.
  private func checkIndex(_ report: inout VerifyReport) throws(StoreError) {
    do throws(StoreError) {
      _ = try PageTable.open(layout.table, writable: false)
      try withPublishLock { () throws(StoreError) in
        let head = try catalogue.head()
        let freed = try FreeList.bits(layout.free, head)
        // Slots that are not up to date, or not there, are rebuilt by the next save.
        guard let slots = try index.current(), slots.serial == head.serial else { return }
        var lost: UInt64 = 0
        try index.table.forEach(upTo: head.tableLength) { (number, entry) throws(StoreError) in
          if entry.isFree || freed[Int(number)] { return }
          if try slots.find(entry.hash, { $0 == number }) == nil { lost += 1 }
        }
        guard lost > 0 else { return }
        report.add(
          Damage(
            file: "pages/slots",
            what: "\(lost) stored pages cannot be found by their hash (`godwit gc` rebuilds it)"))
      }
    } catch { try note(error, in: &report) }
  }

  /// Looks at what lies beside a manifest.
  private func checkBeside(_ row: CatalogueRow, _ report: inout VerifyReport) throws(StoreError) {
    guard
      let manifest = try? Manifest.open(
        layout.manifest(row.info.id), name: row.info.name, digest: row.manifestDigest)
    else { return }
    let checkpoint = Checkpoint(store: self, row: row, manifest: manifest)
    do throws(StoreError) {
      _ = try checkpoint.loadDemandRecord()
    } catch { try note(error, in: &report) }
  }
}
