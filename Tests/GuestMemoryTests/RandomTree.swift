// Random trees of regions over a few hundred bytes, and who answers for each byte of them.

@testable import GuestMemory

/// Registers that remember what was asked of them.
final class RecordingHandler: MMIOHandler {
  func read(offset: UInt64, byteCount: Int) -> UInt64 { 0xA5A5_A5A5_A5A5_A5A5 ^ offset }
  func write(offset: UInt64, byteCount: Int, value: UInt64) {}
}

/// A tree that tests change at random.
final class RandomTree {
  static let byteCount: UInt64 = 512

  let ram = RAMList()
  let root = MemoryRegion.container(name: "root", byteCount: RandomTree.byteCount)
  private(set) var regions: [MemoryRegion]
  private var generator: SeededGenerator
  private var block: RAMBlock
  private var count = 0

  init(seed: Int) throws {
    generator = SeededGenerator(seed: seed)
    block = try ram.add(name: "ram", byteCount: 1 << 16)
    regions = [root]
    for _ in 0..<Int.random(in: 1...14, using: &generator) { add() }
  }

  /// Makes one random change.
  func change() {
    let region = regions.randomElement(using: &generator) ?? root
    switch Int.random(in: 0..<5, using: &generator) {
    case 0: region.isEnabled.toggle()
    case 1: if region !== root { region.isReadOnly.toggle() }
    case 2: remove()
    case 3: region.logClients = generator.chance(50) ? .display : []
    default: add()
    }
  }

  private func remove() {
    let parents = regions.filter { !$0.snapshot.subregions.isEmpty }
    guard let parent = parents.randomElement(using: &generator),
      let child = parent.snapshot.subregions.randomElement(using: &generator)
    else { return }
    parent.removeSubregion(child.region)
    // What hung below it is no longer a place to add to.
    regions.removeAll { isInside($0, child.region) }
  }

  private func isInside(_ region: MemoryRegion, _ tree: MemoryRegion) -> Bool {
    region === tree || tree.snapshot.subregions.contains { isInside(region, $0.region) }
  }

  private func add() {
    let hosts = regions.filter { region in
      guard case .alias = region.content else { return true }
      return false
    }
    guard let parent = hosts.randomElement(using: &generator) else { return }
    count += 1
    let region = makeRegion()
    // Beyond the parent's end, too.
    let offset = UInt64.random(in: 0..<parent.byteCount + 8, using: &generator)
    parent.addSubregion(region, at: offset, priority: Int.random(in: -1...2, using: &generator))
    region.isEnabled = generator.chance(85)
    regions.append(region)
  }

  private func makeRegion() -> MemoryRegion {
    let size = UInt64.random(in: 1...200, using: &generator)
    let name = "region \(count)"
    switch Int.random(in: 0..<6, using: &generator) {
    case 0: return .container(name: name, byteCount: size)
    case 1: return .mmio(name: name, byteCount: size, handler: RecordingHandler())
    case 2:
      // A target outside the tree (or inside a leaf) can never show the alias itself.
      let target = makeLeaf(name + " target", 200)
      return .alias(
        name: name, of: target, offset: UInt64.random(in: 0..<220, using: &generator),
        byteCount: size)
    default: return makeLeaf(name, size)
    }
  }

  /// RAM; now and then with registers over a part of it.
  private func makeLeaf(_ name: String, _ size: UInt64) -> MemoryRegion {
    let offset = Int.random(in: 0..<block.byteCount - Int(size), using: &generator)
    let leaf = MemoryRegion.ram(
      name: name, block: block, offset: offset, byteCount: Int(size))
    if generator.chance(30) {
      leaf.addSubregion(
        .mmio(name: name + " registers", byteCount: 16, handler: RecordingHandler()),
        at: UInt64.random(in: 0..<size, using: &generator))
    }
    if generator.chance(15) { leaf.isReadOnly = true }
    return leaf
  }
}

/// Who answers for a byte.
struct Answer: Equatable {
  var region: ObjectIdentifier
  var offset: UInt64
  var isReadOnly: Bool
  var logClients: DirtyClients

  init?(_ range: FlatRange?, at address: UInt64) {
    guard let range else { return nil }
    region = ObjectIdentifier(range.region)
    offset = range.offsetInRegion + address - range.guest.start.rawValue
    isReadOnly = range.isReadOnly
    logClients = range.logClients
  }

  private init(region: MemoryRegion, offset: UInt64, isReadOnly: Bool, logClients: DirtyClients) {
    self.region = ObjectIdentifier(region)
    self.offset = offset
    self.isReadOnly = isReadOnly
    self.logClients = logClients
  }

  /// Finds the byte from the top of the tree down, one byte at a time: no ranges, no holes, nothing
  /// in common with how the flat view is made.
  static func find(in tree: MemoryRegion, at offset: Int, isReadOnly: Bool = false) -> Answer? {
    let state = tree.snapshot
    guard state.isEnabled, offset >= 0, offset < Int(tree.byteCount) else { return nil }
    let isReadOnly = isReadOnly || state.isReadOnly
    if case .alias(let target, let start) = tree.content {
      return find(in: target, at: offset + Int(start), isReadOnly: isReadOnly)
    }
    for subregion in state.subregions {
      let found = find(
        in: subregion.region, at: offset - Int(subregion.offset), isReadOnly: isReadOnly)
      if let found { return found }
    }
    var isLogged = !isReadOnly
    switch tree.content {
    case .container, .alias: return nil
    case .mmio: isLogged = false
    case .ram: break
    }
    return Answer(
      region: tree, offset: UInt64(offset), isReadOnly: isReadOnly,
      logClients: isLogged ? state.logClients : [])
  }
}
