// The control plane of one machine: what its QMP commands work on, and the server they are given by.

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

  /// A monitor of a machine.
  public init(of machine: any MachineControl) {
    self.machine = machine
  }

  /// The machine's run state.
  public var runState: QMPRunState { machine.runState }

  /// The migration settings as they are now.
  public var migrationOptions: MigrationOptions { options.withLock { $0 } }

  /// A server of a machine's commands that reports its events; sockets are added by
  /// ``QMP/QMPServer/listen(at:allowInsecure:)``.
  public static func server(
    for machine: any MachineControl, limits: QMPServerLimits = QMPServerLimits()
  ) throws(TransportError) -> QMPServer<MachineMonitor> {
    let monitor = MachineMonitor(of: machine)
    let server = try QMPServer(table, for: monitor, limits: limits)
    machine.events.subscribe { [weak server, weak monitor] event in
      guard let server, let monitor, monitor.reports(event) else { return }
      server.report(event.name, event.data)
    }
    return server
  }

  /// Whether clients are told of an event: those of migrations have to be asked for.
  private func reports(_ event: MachineEvent) -> Bool {
    switch event {
    case .migration, .migrationPass: migrationOptions.has("events")
    case .stop, .resume, .shutdown, .reset, .powerdown, .balloonChange, .dumpCompleted: true
    }
  }
}
