// `start`: QEMUs of its own, each running a checkpoint at once.

public import CheckpointStore
import Foundation
import QMP

extension Operations {
  /// Starts one or more QEMUs and restores a checkpoint into each.
  ///
  /// Returns when all memory is where it belongs; the machines go on without Godwit. If one of
  /// them fails, those whose guest has not begun to run are ended, and the error names it.
  public static func start(
    _ request: StartRequest, store: Store, observer: MoveObserver = MoveObserver()
  ) async throws -> [StartedGuest] {
    guard (1...1024).contains(request.count) else {
      throw MoveError(.refused, "--count is from 1 to 1024, not \(request.count).")
    }
    let checkpoint = try store.checkpoint(named: request.name)
    guard let memory = checkpoint.blocks.first else {
      throw MoveError(.refused, "Checkpoint '\(request.name)' has no memory.")
    }
    let directory = try RunDirectory(request.runDirectory, name: request.name)
    var image: String?
    if request.sharesMemory {
      observer.note("Preparing the memory image that the clones share (kept for next time).")
      image = try await EngineThread.run("godwit-image", cancel: {}) {
        try checkpoint.flatImage(block: 0)
      }
    }
    let sum = ProgressSum(of: request.count, observer)
    let start = GuestStart(
      request: request, checkpoint: checkpoint, memory: memory, image: image,
      directory: directory, storePath: store.path)
    return try await withThrowingTaskGroup(of: (Int, StartedGuest).self) { group in
      for index in 0..<request.count {
        group.addTask { (index, try await start.run(index, sum.observer(index))) }
      }
      var guests: [(Int, StartedGuest)] = []
      for try await guest in group { guests.append(guest) }
      return guests.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }
}

/// Where the sockets and logs of started machines go.
struct RunDirectory: Sendable {
  let path: String

  /// Takes the person's directory, or makes a private one.
  init(_ given: String?, name: String) throws(MoveError) {
    let fallback = FileManager.default.temporaryDirectory
      .appendingPathComponent("godwit-\(name)-\(UUID().uuidString.prefix(8))").path
    path = given ?? fallback
    do {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true,
        attributes: [.posixPermissions: 0o700])
    } catch {
      throw MoveError(
        .refused, "Cannot make the directory \(path): \(error.localizedDescription).")
    }
  }

  func socket(_ index: Int) -> String { "\(path)/\(index).qmp" }
  func log(_ index: Int) -> String { "\(path)/\(index).log" }
}

/// The start of one machine of several.
struct GuestStart: Sendable {
  let request: StartRequest
  let checkpoint: Checkpoint
  let memory: CheckpointBlock
  let image: String?
  let directory: RunDirectory
  let storePath: String

  /// Starts the QEMU numbered `index` and restores into it.
  func run(_ index: Int, _ observer: MoveObserver) async throws -> StartedGuest {
    let socket = directory.socket(index)
    try? FileManager.default.removeItem(atPath: socket)
    let line = try QEMUCommandLine(
      request.qemuCommand,
      adding: QEMUCommandLine.Additions(
        qmpPath: socket, machine: checkpoint.info.machine, memoryName: memory.name,
        memoryBytes: memory.byteCount, memoryImage: image, index: index))
    let process = try DetachedProcess.start(
      line.executable, arguments: line.arguments, logPath: directory.log(index))
    do {
      let client = try await monitor(of: process, socket, index)
      defer { client.close() }
      let restore = RunningRestore(
        checkpoint: checkpoint, destination: try await QEMUDestination(client),
        request: RestoreRequest(
          name: request.name, qmp: socket,
          mode: request.isEager || image != nil ? .eager : .instant,
          leavesPaused: line.staysPaused, keeperCommand: request.keeperCommand),
        pending: PendingRestores(storePath: storePath), observer: observer,
        sharedBlock: image == nil ? nil : memory.name)
      return StartedGuest(pid: process.pid, qmp: socket, restore: try await restore.run())
    } catch {
      // A guest that runs and waits for pages is never thrown away: it can be recovered.
      if PendingRestores(storePath: storePath).all().contains(where: {
        $0.process.pid == process.pid
      }) {
        throw error
      }
      process.kill()
      throw failure(error, index)
    }
  }

  /// Waits for QEMU's monitor, or for QEMU's end.
  private func monitor(
    of process: DetachedProcess, _ socket: String, _ index: Int
  ) async throws -> QMPClient {
    for _ in 0..<1500 {
      if process.hasEnded() {
        throw MoveError(.failed, "QEMU ended before its monitor answered.")
      }
      if FileManager.default.fileExists(atPath: socket),
        let client = try? await QMPClient.connect(to: socket)
      {
        return client
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw MoveError(.failed, "QEMU did not open its monitor \(socket) within 30 seconds.")
  }

  /// The error with what QEMU itself wrote.
  private func failure(_ error: any Error, _ index: Int) -> any Error {
    let log = (try? String(contentsOfFile: directory.log(index), encoding: .utf8)) ?? ""
    let words = log.split(separator: "\n").suffix(4).joined(separator: " ")
    guard !words.isEmpty else { return error }
    return MoveError(
      .failed,
      "Machine \(index) of '\(request.name)' could not be started: \(error) QEMU wrote: "
        + words)
  }
}
