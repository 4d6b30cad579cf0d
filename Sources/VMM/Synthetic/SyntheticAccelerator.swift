// A stand-in for processors: a thread of the host that does the demonstration's work.

import CLinux
import Glibc
import GuestMemory
import MigrationCore
import Synchronization
import Transport

/// A stand-in for a processor, for hosts without KVM: no code runs, a thread of the host does the
/// demonstration's work on the machine's memory and says so on its serial port.
final class SyntheticAccelerator: Accelerator {
  private static let serialData: UInt16 = 0x3F8
  private static let serialStatus: UInt16 = 0x3FD
  private static let transmitterIsEmpty: UInt32 = 0x20

  let kind = AcceleratorKind.synthetic
  let processorCount = 1

  private let workload: MachineConfiguration.Workload
  private let memory: SyntheticMemory
  private let ports: PortBus
  private let tellFree: @Sendable (Range<Int>) -> Void
  private let group = VCPUGroup(count: 1)
  private let thread = Mutex<NamedThread?>(nil)
  private let identifier = Atomic<Int32>(0)
  // It looks after each turn, and need not be got out of anything.
  private let slowing = VCPUThrottle(kick: {})

  /// - Parameters:
  ///   - workload: what is done.
  ///   - memory: where.
  ///   - ports: the machine's, for its serial port.
  ///   - tellFree: told which bytes of the memory nobody needs.
  init(
    _ workload: MachineConfiguration.Workload, memory: SyntheticMemory, ports: PortBus,
    tellFree: @escaping @Sendable (Range<Int>) -> Void
  ) {
    self.tellFree = tellFree
    self.workload = workload
    self.memory = memory
    self.ports = ports
  }

  /// Starts the thread, which stands until ``resume()``.
  func start() throws(TransportError) {
    let new = try NamedThread(name: "synthetic0") { [weak self] in self?.main() }
    thread.withLock { $0 = new }
  }

  var threadIdentifiers: [Int32] { [identifier.load(ordering: .relaxed)] }

  func resume() { group.run() }

  func pause() { group.halt {} }

  func throttle(_ throttle: Throttle?) {
    switch throttle {
    case .rest(let percent): slowing.set(percent: percent)
    case .dirtyRate, nil: slowing.set(percent: 0)
    }
  }

  let limitsDirtyRate = false

  func reset(to start: ProcessorStart) {
    SyntheticState.erase(in: memory)
  }

  func end() {
    throttle(nil)
    pause()
    group.end()
    thread.withLock { $0 }?.join()
  }

  private func main() {
    identifier.store(godwit_kvm_thread(), ordering: .relaxed)
    var isFirst = true
    var restsTaken: UInt64 = 0
    while group.stand(isFirst: isFirst) {
      isFirst = false
      // What the memory holds may be another's since the last time.
      var work = SyntheticWorkload(workload, in: memory, tellFree: tellFree)
      while group.mayRun {
        if work.turn(at: Self.now, say: say) == .idle { group.rest(.milliseconds(1)) }
        if let rest = slowing.restDue(&restsTaken) { group.rest(rest) }
      }
      work.store()
    }
  }

  /// Says something on the serial port, as a guest that polls it.
  private func say(_ text: String) {
    for byte in text.utf8 {
      if byte == UInt8(ascii: "\n") { send(UInt8(ascii: "\r")) }
      send(byte)
    }
  }

  private func send(_ byte: UInt8) {
    // Bounded: a port that says nothing must not hang whoever speaks.
    for _ in 0..<1000 {
      let status = ports.read(Self.serialStatus, byteCount: 1)
      if status & Self.transmitterIsEmpty != 0 { break }
      usleep(100)
    }
    ports.write(Self.serialData, byteCount: 1, value: UInt32(byte))
  }

  private static var now: UInt64 {
    var time = timespec()
    // SAFETY: the kernel fills the local.
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
