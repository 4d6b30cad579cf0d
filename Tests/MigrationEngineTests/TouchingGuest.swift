// A machine whose memory comes while a guest thread touches it, without any kernel's help.

import Glibc
import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Transport
import Wire

/// A destination with a guest that goes through a list of pages and waits for each.
final class TouchingGuest: PostcopyEndpoint {
  struct Kept: Sendable {
    var memory: [RAMPageAddress: [UInt8]] = [:]
    var present: Set<RAMPageAddress> = []
    var deviceBytes: [UInt8]?
    /// Whether a thread is loading the devices.
    var isLoading = false
    var isRunning = false
    var isServing = false
    var isOrdinary = false
    /// What was decided about the machine, in order.
    var decisions: [String] = []
    /// Pages that were not as they should be when the guest had them.
    var wrong: [RAMPageAddress] = []
    var asking: (@Sendable (RAMPageAddress) -> Bool)?
  }

  private let machine: ModelMachine
  private let touches: [RAMPageAddress]
  private let refusesDevices: Bool
  private let kept = Mutex(Kept())
  /// How often memory cannot be made ordinary.
  private let refusedEndings: Mutex<Int>

  init(
    _ machine: ModelMachine, touches: [RAMPageAddress], refusesDevices: Bool = false,
    refusedEndings: Int = 0
  ) {
    self.refusedEndings = Mutex(refusedEndings)
    self.machine = machine
    self.touches = touches
    self.refusesDevices = refusesDevices
  }

  var value: Kept { kept.withLock { $0 } }

  /// Pages that are not all zero.
  var memory: [RAMPageAddress: [UInt8]] { value.memory }

  func pageByteCount(ofBlock index: Int) -> Int { machine.targetPageSize }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {}

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    let bytes = content.withUnsafeBytes { Array($0) }
    kept.withLock { kept in
      kept.memory[page] = bytes
      kept.present.insert(page)
    }
  }

  func placeZero(_ page: RAMPageAddress) throws {
    kept.withLock { kept in
      kept.memory[page] = nil
      kept.present.insert(page)
    }
  }

  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {}

  func takeDeviceState(_ state: DeviceState) throws {}

  func complete() throws {}

  func advise(_ advice: PostcopyAdvice) throws {
    guard advice.targetPageSize == UInt64(machine.targetPageSize) else {
      throw Refused(description: "\(advice)")
    }
  }

  func discard(_ range: Range<UInt64>, ofBlock index: Int) throws {
    kept.withLock { kept in
      for offset in stride(
        from: range.lowerBound, to: range.upperBound, by: machine.targetPageSize)
      {
        let page = RAMPageAddress(blockIndex: index, offset: offset)
        kept.memory[page] = nil
        kept.present.remove(page)
      }
    }
  }

  func beginServing(
    _ recovery: StreamDecoder.Recovery, asking: @escaping @Sendable (RAMPageAddress) -> Bool
  ) throws {
    kept.withLock { kept in
      kept.asking = asking
      kept.isServing = true
    }
  }

  func fill(_ page: RAMPageAddress, content: RawSpan) throws {
    guard !value.present.contains(page) else { throw Refused(description: "twice") }
    let bytes = content.withUnsafeBytes { Array($0) }
    kept.withLock { $0.memory[page] = bytes }
  }

  func fillZero(_ page: RAMPageAddress) throws {
    guard !value.present.contains(page) else { throw Refused(description: "twice") }
    kept.withLock { $0.memory[page] = nil }
  }

  func keep(_ page: RAMPageAddress) throws {
    kept.withLock { _ = $0.present.insert(page) }
  }

  func release(_ page: RAMPageAddress, isAwaited: Bool, isZero: Bool) throws {}

  func commit() { kept.withLock { $0.decisions.append("commit") } }

  func giveUp() { kept.withLock { $0.decisions.append("give up") } }

  func load(_ state: DeviceState) throws {
    kept.withLock { $0.isLoading = true }
    defer {
      // Whoever is let go of is not through at once.
      if !value.isServing { usleep(20_000) }
      kept.withLock { $0.isLoading = false }
    }
    // Devices look into memory too, and wait for it.
    for page in touches.suffix(2) { touch(page) }
    if refusesDevices { throw Refused(description: "no such device") }
    kept.withLock { $0.deviceBytes = state.bytes }
  }

  func run() throws {
    kept.withLock { $0.isRunning = true }
    _ = try NamedThread(name: "guest") { [self] in for page in touches { touch(page) } }
  }

  func endServing(missing: [(blockIndex: Int, range: Range<UInt64>)]) throws {
    let isRefused = refusedEndings.withLock { count in
      defer { count -= 1 }
      return count > 0
    }
    if isRefused { throw Refused(description: "no room") }
    kept.withLock { kept in
      kept.isServing = false
      kept.isOrdinary = true
    }
  }

  private func touch(_ page: RAMPageAddress) {
    guard let asking = value.asking else { return }
    var mayWait = true
    while mayWait, !value.present.contains(page) {
      mayWait = value.isServing
      if asking(page) { break }
    }
    let expected = machine.content(page)
    kept.withLock { kept in
      guard kept.isServing || kept.present.contains(page) else { return }
      if kept.memory[page] != expected { kept.wrong.append(page) }
    }
  }
}
