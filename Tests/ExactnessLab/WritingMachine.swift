// A machine that does nothing but write its memory, and whose layout can be changed meanwhile.

import DirtyTracking
import Glibc
import GuestMemory
import KVM
import Synchronization
import Transport

/// A machine with the writing guest on each of its vCPUs.
final class WritingMachine: Sendable {
  /// 16 MiB of RAM, of which the guest writes the 2048 pages from 4 MiB on.
  static let ramByteCount = 16 << 20
  static let area: UInt64 = 4 << 20
  static let areaPageCount = 2048

  /// Registers laid over RAM: their pages come and go, at addresses that are no multiple of 64.
  static let hole = GuestRange(start: 0x60_5000, byteCount: 0x3000)!
  /// RAM that is read-only at times.
  static let readOnly = GuestRange(start: 0x80_1000, byteCount: 0x1_0000)!
  /// Other memory laid over RAM at times.
  static let other = GuestRange(start: 0xa0_7000, byteCount: 0x4_0000)!

  let ram = RAMList()
  let space: AddressSpace
  let slots: KVMMemorySlots
  let log: any DirtyLog
  private let gate = RunGate()
  private let interruptions = Interruptions()
  let vcpus: [KVMVCPU]
  private let overlays: [MemoryRegion]
  private let threads = Mutex<[NamedThread]>([])
  private let isEnding = Atomic<Bool>(false)
  private let failures = Mutex<[String]>([])
  /// Exits because a dirty ring was full.
  let fullRingCount = Atomic<Int>(0)
  /// Writes that exited, at addresses that had no writable memory.
  let exitedWriteCount = Atomic<Int>(0)

  private final class Sink: MMIOHandler {
    func read(offset: UInt64, byteCount: Int) -> UInt64 { 0 }
    func write(offset: UInt64, byteCount: Int, value: UInt64) {}
  }

  /// Makes the machine, standing still.
  ///
  /// With `leavesAndFillsRings` the guest leaves after every write, and nothing but full rings and
  /// the ends of rounds empty the rings. (A KVM that emulates instruction after instruction looks
  /// for a full ring only when it is entered.)
  init(
    _ kind: DirtyLogKind, vcpuCount: Int = 1,
    ringEntryCount: Int = DirtyLogChoice.ringEntryCount, backing: RAMBacking = .anonymous,
    leavesAndFillsRings: Bool = false
  ) throws {
    let system = try KVMSystem()
    let machine = try system.makeVirtualMachine()
    let choice = try DirtyLogChoice(
      requested: kind, from: DirtyLogCapabilities(probing: system),
      ringEntryCount: ringEntryCount)
    slots = try KVMMemorySlots(
      machine: machine, choice: choice, pausing: Watched(gate, interruptions))

    let main = try ram.add(name: "pc.ram", byteCount: Self.ramByteCount, backing: backing)
    let extra = try ram.add(name: "extra", byteCount: 1 << 20, backing: backing)
    let root = MemoryRegion.container(name: "system", byteCount: 1 << 32)
    let mainRegion = MemoryRegion.ram(main)
    root.addSubregion(mainRegion, at: 0)
    let hole = MemoryRegion.mmio(name: "hole", byteCount: Self.hole.byteCount, handler: Sink())
    root.addSubregion(hole, at: Self.hole.start.rawValue, priority: 1)
    let readOnly = MemoryRegion.alias(
      name: "read-only", of: mainRegion, offset: Self.readOnly.start.rawValue,
      byteCount: Self.readOnly.byteCount)
    readOnly.isReadOnly = true
    root.addSubregion(readOnly, at: Self.readOnly.start.rawValue, priority: 1)
    let other = MemoryRegion.ram(
      name: "other", block: extra, offset: 0x3000, byteCount: Int(Self.other.byteCount))
    root.addSubregion(other, at: Self.other.start.rawValue, priority: 1)
    overlays = [hole, readOnly, other]
    for overlay in overlays { overlay.isEnabled = false }
    space = AddressSpace(name: "memory", root: root, ram: ram)
    try space.addListener(slots)

    if leavesAndFillsRings {
      log = UnreapedLog(space)
    } else if kind == .writeProtect {
      log = WriteProtectLog(ram: ram, reason: choice.reason)
    } else {
      log = KVMDirtyLog(space: space, slots: slots, choice: choice)
    }
    var vcpus: [KVMVCPU] = []
    for index in 0..<vcpuCount {
      let vcpu = try machine.makeVCPU(index: index)
      try slots.add(vcpu)
      let code = WritingGuest.code(index, leaves: leavesAndFillsRings)
      try main.write(offset: Int(WritingGuest.codeAddress(index)), code.span.bytes)
      try WritingGuest.prepare(vcpu, area: Self.area, pageCount: Self.areaPageCount)
      vcpus.append(vcpu)
    }
    let all = vcpus
    self.vcpus = all
    let slots = slots
    interruptions.find = {
      try all.compactMap { vcpu in
        guard let address = try WritingGuest.addressAboutToBeWritten(vcpu) else { return nil }
        return slots.ramPage(at: GuestAddress(address))
      }
    }
  }

  /// Lets the guest run, on a thread for each vCPU.
  func start() throws {
    for vcpu in vcpus {
      let thread = try NamedThread(name: "vcpu\(vcpu.index)") { self.runLoop(vcpu) }
      threads.withLock { $0.append(thread) }
    }
  }

  /// Ends the threads; what went wrong on them is returned.
  func end() -> [String] {
    isEnding.store(true, ordering: .sequentiallyConsistent)
    for vcpu in vcpus { vcpu.kick() }
    for thread in threads.withLock({ $0 }) { thread.join() }
    return failures.withLock { $0 }
  }

  private func runLoop(_ vcpu: KVMVCPU) {
    do {
      while !isEnding.load(ordering: .sequentiallyConsistent) {
        switch try gate.run(vcpu) {
        case .interrupted: continue
        case .dirtyRingFull:
          fullRingCount.add(1, ordering: .relaxed)
          try slots.collectRings()
        case .portOutput: continue
        case .mmioWrite(let address, _, _) where Self.mayExit(GuestAddress(address)):
          exitedWriteCount.add(1, ordering: .relaxed)
        case let exit: throw Unexpected(exit: exit)
        }
      }
    } catch {
      failures.withLock { $0.append("vCPU \(vcpu.index): \(error)") }
    }
  }

  private struct Unexpected: Error, CustomStringConvertible {
    let exit: VCPUExit
    var description: String { "the guest left unexpectedly: \(exit)" }
  }

  /// Whether a write may exit at an address: only where memory was taken away or made read-only.
  ///
  /// Everywhere else there is memory before and after every change, and an exit means that a vCPU
  /// saw the moment in between.
  private static func mayExit(_ address: GuestAddress) -> Bool {
    hole.contains(address) || readOnly.contains(address)
  }

  /// Lays an overlay over the RAM or takes it away.
  /// - Parameter number: any; the lowest bits choose which.
  func toggleOverlay(_ number: Int) throws {
    let overlay = overlays[number % overlays.count]
    try space.transaction { () throws(GuestMemoryError) in overlay.isEnabled.toggle() }
  }

  /// The numbers that the vCPUs wrote last.
  private func writtenNumbers() throws -> [UInt32] {
    guard let block = ram.blocks.first else { return [] }
    return try vcpus.map { vcpu in
      let mailbox = Int(WritingGuest.codeAddress(vcpu.index)) + 0x800
      return try block.withBytes(offset: mailbox, byteCount: 4) { bytes in
        bytes.unsafeLoadUnaligned(as: UInt32.self)
      }
    }
  }

  /// Waits until every vCPU has written on, however slow the host is.
  func waitForWrites() throws {
    let before = try writtenNumbers()
    let deadline = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < deadline, failures.withLock(\.isEmpty) {
      // Two further, so that a write which was under way is not taken for one that followed.
      if try zip(before, writtenNumbers()).allSatisfy({ $1 &- $0 >= 2 }) { return }
      usleep(200)
    }
  }

  /// Runs `body` while no vCPU runs, and carries its error over.
  func whilePaused<R>(_ body: () throws -> R) throws -> R {
    var result: Result<R, any Error>?
    gate.withVCPUsPaused {
      interruptions.note()
      result = Result { try body() }
    }
    return try result!.get()
  }

  /// Pages that vCPUs were about to write when they were interrupted, since this was asked last.
  func takeInterruptedPages() throws -> Set<Int> { try interruptions.take() }
}

/// KVM's dirty log without a thread that empties the rings.
final class UnreapedLog: DirtyLog {
  let name = "unreaped"
  let reason = "For a test."
  private let space: AddressSpace

  init(_ space: AddressSpace) { self.space = space }

  func start() throws(GuestMemoryError) { try space.startLogging(.migration) }

  func sync() throws(GuestMemoryError) -> Int {
    try space.syncDirtyLog()
    return 0
  }

  func willSend(_ range: RAMRange) {}

  func stop() throws(GuestMemoryError) { try space.stopLogging(.migration) }
}

/// Notes which pages vCPUs were about to write whenever they are paused.
final class Interruptions: Sendable {
  private struct State {
    var find: @Sendable () throws -> [Int] = { [] }
    var pages: Set<Int> = []
    var failure: (any Error)?
  }

  private let state = Mutex(State())

  var find: @Sendable () throws -> [Int] {
    get { state.withLock { $0.find } }
    set { state.withLock { $0.find = newValue } }
  }

  func note() {
    let result = Result { try find() }
    state.withLock { state in
      switch result {
      case .success(let pages): state.pages.formUnion(pages)
      case .failure(let error): state.failure = error
      }
    }
  }

  func take() throws -> Set<Int> {
    try state.withLock { state in
      if let failure = state.failure { throw failure }
      defer { state.pages = [] }
      return state.pages
    }
  }
}

/// The gate as the slots use it, watched.
final class Watched: VCPUPausing {
  private let gate: RunGate
  private let interruptions: Interruptions

  init(_ gate: RunGate, _ interruptions: Interruptions) {
    self.gate = gate
    self.interruptions = interruptions
  }

  func withVCPUsPaused(_ body: () -> Void) {
    gate.withVCPUsPaused {
      interruptions.note()
      body()
    }
  }
}

extension KVMMemorySlots {
  /// The page of RAM that a slot in force shows at a guest address.
  func ramPage(at address: GuestAddress) -> Int? {
    slots.first { $0.guest.contains(address) }.map { plan in
      let offset = Int(address.rawValue - plan.guest.start.rawValue) + plan.blockOffset
      return plan.block.ramOffset.advanced(by: offset).pageIndex
    }
  }
}
