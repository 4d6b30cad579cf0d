// A dump of the whole machine: it stands still, its registers and memory are written, it goes on.

import GuestMemory
import JSON
import QMP
import Synchronization
import Transport

/// How far the latest dump is.
struct DumpProgress: Sendable {
  /// Its state, in QMP's words.
  enum Status: String {
    case none, active, completed, failed
  }

  var status = Status.none
  var writtenByteCount: UInt64 = 0
  var totalByteCount: UInt64 = 0

  /// Begins a dump unless one is under way.
  mutating func begin() -> Bool {
    guard status != .active else { return false }
    self = DumpProgress(status: .active)
    return true
  }

  var json: JSONValue {
    [
      "status": .string(status.rawValue), "completed": JSONValue(writtenByteCount),
      "total": JSONValue(totalByteCount),
    ]
  }
}

/// One dump.
final class MachineDump: Sendable {
  private let monitor: MachineMonitor
  private let layout: CoreDumpLayout
  private let channel: ByteChannel
  private let wasRunning: Bool

  /// Stops the machine and lays the dump out; ``run()`` writes it and lets the machine go on.
  init(
    of monitor: MachineMonitor, _ part: CoreDumpLayout.Range?, into channel: ByteChannel
  ) throws(QMPRefusal) {
    self.monitor = monitor
    self.channel = channel
    wasRunning = monitor.machine.runState.isRunning
    let ranges = Self.ranges(of: monitor.machine.memoryMap, within: part)
    guard !ranges.isEmpty else { throw QMPRefusal("dump: no guest memory to dump") }
    guard ranges.count <= CoreDumpLayout.rangeLimit else {
      throw QMPRefusal("The memory lies in more ranges than an ELF file has numbers for")
    }
    if wasRunning {
      try monitor.asking { (machine) throws(MachineError) in try machine.stop() }
    }
    // A stand-in without processors has no registers, and its dump none.
    let processors = monitor.machine.processors.indices.compactMap { index in
      try? monitor.machine.registers(ofProcessor: index)
    }
    layout = CoreDumpLayout(processors: processors, ranges: ranges)
    let total = layout.memoryByteCount
    monitor.dump.withLock { $0.totalByteCount = total }
  }

  /// Writes the dump.
  func run() throws(QMPRefusal) {
    do throws(QMPRefusal) {
      try GuestMemoryWriter(machine: monitor.machine, channel: channel).write(layout.front)
      let writer = GuestMemoryWriter(machine: monitor.machine, channel: channel) { byteCount in
        self.monitor.dump.withLock { $0.writtenByteCount += byteCount }
      }
      for range in layout.ranges {
        try writer.write(from: range.address, byteCount: range.byteCount)
      }
    } catch {
      finish(error)
      throw error
    }
    finish(nil)
  }

  /// Notes the end, lets the machine go on if it ran, and reports it.
  func finish(_ failure: QMPRefusal?) {
    let account = monitor.dump.withLock { dump in
      dump.status = failure == nil ? .completed : .failed
      return dump.json
    }
    if wasRunning { try? monitor.machine.cont() }
    var data = [JSONMember("result", account)]
    if let failure { data.append(JSONMember("error", .string(failure.description))) }
    let event = ServedEvent("DUMP_COMPLETED", .object(data))
    monitor.report.withLock { $0 }(event)
  }

  /// The memory of a map, or the part of it inside a range; neighbours in one piece.
  static func ranges(
    of map: [MappedRange], within part: CoreDumpLayout.Range?
  ) -> [CoreDumpLayout.Range] {
    var ranges: [CoreDumpLayout.Range] = []
    for entry in map where entry.kind != .io {
      var start = entry.start.rawValue, end = entry.end
      if let part {
        start = max(start, part.address)
        end = min(end, part.address + part.byteCount)
      }
      guard start < end else { continue }
      if let last = ranges.last, last.address + last.byteCount == start {
        ranges[ranges.count - 1].byteCount += end - start
      } else {
        ranges.append(CoreDumpLayout.Range(address: start, byteCount: end - start))
      }
    }
    return ranges
  }
}
