// The control plane of one machine: what its QMP commands work on, and the server that offers them.

import JSON
public import QMP
import Synchronization
public import Transport

/// Answers QMP for a machine, and the human monitor's lines inside it.
///
///     let server = try MachineMonitor.server(for: machine)
///     try server.listen(at: .unix(path: "vm.sock"))
///     …
///     server.stop()
public final class MachineMonitor: QMPHost {
  let machine: any MachineControl
  let options = Mutex(MigrationOptions.standard)
  let dirtyRate = DirtyRateMeter()
  let dump = Mutex(DumpProgress())

  /// Reports an event of the monitor's own making; nothing before there is a server.
  let report = Mutex<@Sendable (ServedEvent) -> Void>({ _ in })

  /// A monitor of a machine.
  public init(of machine: any MachineControl) {
    self.machine = machine
  }

  /// The machine's run state.
  public var runState: QMPRunState { QMPRunState(machine.runState) }

  /// The migration settings as they are now.
  public var migrationOptions: MigrationOptions { options.withLock { $0 } }

  /// A server of a machine's commands that reports its events; sockets are added by
  /// ``QMP/QMPServer/listen(at:allowInsecure:)``.
  public static func server(
    for machine: any MachineControl, limits: QMPServerLimits = QMPServerLimits()
  ) throws(TransportError) -> QMPServer<MachineMonitor> {
    let monitor = MachineMonitor(of: machine)
    let server = try QMPServer(table, for: monitor, limits: limits)
    _ = machine.observe { [weak server] event in
      server?.report(event.served.name, event.served.data)
    }
    machine.migration.observe { [weak server, weak monitor] event in
      // Clients have to ask for these.
      guard let monitor, monitor.migrationOptions.has("events") else { return }
      server?.report(event.served.name, event.served.data)
    }
    monitor.report.withLock { report in
      report = { [weak server] event in server?.report(event.name, event.data) }
    }
    return server
  }
}

extension QMPRunState {
  /// The same state in QMP's words.
  init(_ state: RunState) {
    // Both have QEMU's words for raw values.
    self = QMPRunState(rawValue: state.rawValue) ?? .internalError
  }
}

extension QMPRefusal {
  /// A machine's refusal, as a client reads it.
  init(_ error: MachineError) { self.init(error.description) }
}

extension MachineMonitor {
  /// Asks the machine for something, its refusal becoming the client's.
  func asking<Value>(
    _ request: (any MachineControl) throws(MachineError) -> Value
  ) throws(QMPRefusal) -> Value {
    do throws(MachineError) {
      return try request(machine)
    } catch {
      throw QMPRefusal(error)
    }
  }
}
