// Where things lie in a manifest, and its header page.

import PageHash

/// The layout of a manifest: header page, description, chunk digests, references.
struct ManifestLayout: Hashable, Sendable {
  static let headerSize: UInt64 = 4096
  private static let magic: [UInt8] = Array("GWMANIF1".utf8)
  /// References in a chunk, which is 4 KiB and has one digest.
  static let chunkWords = 512
  static let digestSize: UInt64 = 32

  /// The checkpoint's identity: 16 bytes.
  var id: [UInt8]
  /// Chunks of references, all blocks together.
  var chunkCount: UInt64
  /// Length of the description with its padding.
  var descriptionSize: UInt64
  /// SHA-256 of the description with its padding.
  var descriptionDigest: ContentHash

  var descriptionOffset: UInt64 { ManifestLayout.headerSize }
  var digestsOffset: UInt64 { descriptionOffset + descriptionSize }
  var referencesOffset: UInt64 {
    digestsOffset + ManifestLayout.padded(chunkCount * ManifestLayout.digestSize)
  }
  var byteCount: UInt64 { referencesOffset + chunkCount * 4096 }

  static func padded(_ size: UInt64) -> UInt64 { (size + 4095) & ~4095 }

  /// The chunks that blocks of these lengths take: each block begins a chunk.
  static func chunkCount(_ block: CheckpointBlock) -> UInt64 {
    let pages = block.byteCount / UInt64(storePageSize)
    return (pages + UInt64(chunkWords) - 1) / UInt64(chunkWords)
  }

  /// The header page: fields, zeros, and SHA-256 of all before it in the last 32 bytes.
  func encode(_ digester: Digester) -> [UInt8] {
    var bytes = ManifestLayout.magic
    bytes.appendLittleEndian(UInt32(1))
    bytes.appendLittleEndian(UInt32(0))
    bytes += id
    bytes.appendLittleEndian(chunkCount)
    bytes.appendLittleEndian(descriptionSize)
    bytes += descriptionDigest.bytes
    bytes += [UInt8](repeating: 0, count: 4064 - bytes.count)
    bytes += digester.hash(bytes).bytes
    return bytes
  }

  /// The layout that a header page describes; nil where it is not one, whole.
  init?(_ bytes: [UInt8], _ digester: Digester) {
    guard bytes.count == 4096, Array(bytes[0..<8]) == ManifestLayout.magic else { return nil }
    var tail = FieldReader(bytes, from: 4064)
    guard tail.nextHash() == digester.hash(Array(bytes[0..<4064])) else { return nil }
    var reader = FieldReader(bytes, from: 8)
    guard reader.next(UInt32.self) == 1, reader.next(UInt32.self) == 0,
      let id = reader.next(count: 16), let chunkCount = reader.next(UInt64.self),
      let descriptionSize = reader.next(UInt64.self), let digest = reader.nextHash(),
      chunkCount <= StoreLimits.ramBytes / (4096 * 512) + UInt64(StoreLimits.blocks),
      descriptionSize % 4096 == 0, descriptionSize <= UInt64(StoreLimits.stateBytes) * 2
    else { return nil }
    self.init(
      id: id, chunkCount: chunkCount, descriptionSize: descriptionSize, descriptionDigest: digest)
  }

  init(id: [UInt8], chunkCount: UInt64, descriptionSize: UInt64, descriptionDigest: ContentHash) {
    self.id = id
    self.chunkCount = chunkCount
    self.descriptionSize = descriptionSize
    self.descriptionDigest = descriptionDigest
  }

  /// The digest of a chunk: of identity, chunk number and content, so that no chunk passes for
  /// another one.
  func chunkDigest(_ index: UInt64, _ content: [UInt8], _ digester: Digester) -> ContentHash {
    digester.begin()
    var place = id
    place.appendLittleEndian(index)
    digester.update(place)
    digester.update(content)
    return digester.finish()
  }
}

/// What a manifest says beside its references: enough to list the checkpoint again without the
/// catalogue.
struct ManifestDescription: Hashable, Sendable {
  var info: CheckpointInfo
  var state: CheckpointState

  /// The description's bytes, padded with zeros to whole 4 KiB.
  func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendCounted(info.name)
    bytes.appendCounted(info.id)
    bytes.appendLittleEndian(info.created.bitPattern)
    bytes.appendLittleEndian(UInt8(info.parent == nil ? 0 : 1))
    bytes.appendCounted(info.parent ?? "")
    bytes.appendCounted(CatalogueRow.encode(info.blocks))
    for count in [
      info.summary.ramBytes, info.summary.pagesZero, info.summary.pagesNew,
      info.summary.pagesKnown, info.summary.storedBytes,
    ] {
      bytes.appendLittleEndian(count)
    }
    bytes.appendCounted(state.machine)
    bytes.appendCounted(state.qemuVersion)
    bytes.appendCounted(state.architecture)
    bytes.appendLittleEndian(state.targetPageSize)
    bytes.appendLittleEndian(state.ramSectionID)
    bytes.appendCounted(state.configuration)
    bytes.appendCounted(state.deviceState)
    bytes.appendLittleEndian(UInt8(state.vmDescription == nil ? 0 : 1))
    bytes.appendCounted(state.vmDescription ?? [])
    bytes.appendCounted(state.metadata)
    let size = Int(ManifestLayout.padded(UInt64(bytes.count)))
    bytes += [UInt8](repeating: 0, count: size - bytes.count)
    return bytes
  }

  init(info: CheckpointInfo, state: CheckpointState) {
    self.info = info
    self.state = state
  }

  /// The description that the bytes hold; nil where they hold none.
  init?(_ bytes: [UInt8]) {
    var reader = FieldReader(bytes)
    guard let name = reader.nextText(), let id = reader.nextText(),
      let created = reader.next(UInt64.self), let hasParent = reader.next(UInt8.self),
      let parent = reader.nextText(), let blockBytes = reader.nextCounted(),
      let blocks = CatalogueRow.decodeBlocks(blockBytes), let ramBytes = reader.next(UInt64.self),
      let zero = reader.next(UInt64.self), let new = reader.next(UInt64.self),
      let known = reader.next(UInt64.self), let stored = reader.next(UInt64.self),
      let machine = reader.nextText(), let version = reader.nextText(),
      let architecture = reader.nextText(), let pageSize = reader.next(UInt64.self),
      let section = reader.next(UInt32.self), let configuration = reader.nextCounted(),
      let deviceState = reader.nextCounted(), let hasDescription = reader.next(UInt8.self),
      let description = reader.nextCounted(), let metadata = reader.nextCounted()
    else { return nil }
    info = CheckpointInfo(
      name: name, id: id, created: Double(bitPattern: created), machine: machine,
      qemuVersion: version, architecture: architecture, parent: hasParent == 1 ? parent : nil,
      blocks: blocks,
      summary: CheckpointSummary(
        ramBytes: ramBytes, pagesZero: zero, pagesNew: new, pagesKnown: known, storedBytes: stored))
    state = CheckpointState(
      machine: machine, qemuVersion: version, architecture: architecture, targetPageSize: pageSize,
      ramSectionID: section, configuration: configuration, deviceState: deviceState,
      vmDescription: hasDescription == 1 ? description : nil, metadata: metadata)
  }
}
