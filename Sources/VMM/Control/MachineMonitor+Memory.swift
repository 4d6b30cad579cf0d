// Commands that write guest memory to files.

import JSON
import QMP
import Synchronization
import Transport

extension MachineMonitor {
  static let memoryCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "dump-guest-memory",
      "Writes an ELF core of the machine, registers of all vCPUs included, while it stands still.",
      arguments: [
        .required("paging", .boolean), .required("protocol", .string),
        .optional("detach", .boolean), .optional("begin", .size), .optional("length", .size),
        .optional("format", .enumeration(dumpFormats)),
      ], allowed: .except([(.inmigrate, "Dump not allowed during incoming migration.")]),
      handler: dumpMemory),
    QMPServedCommand(
      "query-dump", "How far the latest dump is.", returns: .object(dumpResult),
      handler: queryDump),
    QMPServedCommand(
      "query-dump-guest-memory-capability", "The formats of dumps.",
      returns: .object(
        QMPObject(
          "DumpGuestMemoryCapability", [.required("formats", .list(.enumeration(dumpFormats)))])),
      handler: queryDumpFormats),
    QMPServedCommand(
      "pmemsave", "Writes guest-physical memory to a file; what is no memory as zeros.",
      arguments: [
        .required("val", .size), .required("size", .size), .required("filename", .string),
      ], handler: saveMemory),
  ]

  private static let dumpFormats = QMPEnumeration("DumpGuestMemoryFormat", ["elf"])

  private static func saveMemory(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let address = try call.uint64("val"), byteCount = try call.uint64("size")
    let end = monitor.machine.memoryMap.filter { $0.kind != .io }.map(\.end).max() ?? 0
    guard address <= end, byteCount <= end - address else {
      throw QMPRefusal(
        "Invalid addr 0x\(String(address, radix: 16)) or size \(byteCount) specified: "
          + "memory ends at 0x\(String(end, radix: 16))")
    }
    let path = try call.string("filename")
    let writer = GuestMemoryWriter(
      machine: monitor.machine, channel: try file(path))
    try writer.write(from: address, byteCount: byteCount)
    return [:]
  }

  /// A file that is made anew.
  private static func file(_ path: String) throws(QMPRefusal) -> ByteChannel {
    do throws(TransportError) {
      return try ByteChannel.connect(to: .file(path: path, offset: 0), for: .writing)
    } catch {
      throw QMPRefusal(error.description)
    }
  }

  // MARK: - Dumps

  private static func dumpMemory(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    guard try !call.bool("paging") else {
      throw QMPRefusal(
        "This machine dumps memory as it lies in physical addresses: give 'paging' as false")
    }
    let part = try part(of: call)
    let channel = try dumpChannel(call)
    guard monitor.dump.withLock({ $0.begin() }) else {
      throw QMPRefusal("There is a dump in process, please wait.")
    }
    let dump: MachineDump
    do throws(QMPRefusal) {
      dump = try MachineDump(of: monitor, part, into: channel)
    } catch {
      monitor.dump.withLock { $0.status = .failed }
      throw error
    }
    guard call["detach"]?.bool ?? false else {
      try dump.run()
      return [:]
    }
    do throws(TransportError) {
      _ = try NamedThread(name: "dump") { try? dump.run() }
    } catch {
      dump.finish(QMPRefusal(error.description))
      throw QMPRefusal(error.description)
    }
    return [:]
  }

  /// The part of memory that is asked for; nil for all of it.
  private static func part(of call: QMPCall) throws(QMPRefusal) -> CoreDumpLayout.Range? {
    switch (call["begin"]?.uint64, call["length"]?.uint64) {
    case (nil, nil): return nil
    case (_?, nil): throw QMPRefusal("Parameter 'length' is missing")
    case (nil, _?): throw QMPRefusal("Parameter 'begin' is missing")
    case (_?, 0?): throw QMPRefusal("parameter 'length' expects a non-zero size")
    case (let begin?, let length?):
      guard begin.addingReportingOverflow(length).overflow == false else {
        throw QMPRefusal("dump: no guest memory to dump")
      }
      return CoreDumpLayout.Range(address: begin, byteCount: length)
    }
  }

  private static func dumpChannel(_ call: QMPCall) throws(QMPRefusal) -> ByteChannel {
    let target = try call.string("protocol")
    if target.hasPrefix("file:") { return try file(String(target.dropFirst(5))) }
    guard target.hasPrefix("fd:") else {
      throw QMPRefusal("parameter 'protocol' must start with 'file:' or 'fd:'")
    }
    let name = String(target.dropFirst(3))
    guard let descriptor = call.descriptors.take(name)?.take() else {
      throw QMPRefusal("File descriptor named '\(name)' has not been found")
    }
    do throws(TransportError) {
      return try ByteChannel(adopting: descriptor, peer: target)
    } catch {
      throw QMPRefusal(error.description)
    }
  }

  private static func queryDump(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    monitor.dump.withLock(\.json)
  }

  private static func queryDumpFormats(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["formats": ["elf"]]
  }
}
