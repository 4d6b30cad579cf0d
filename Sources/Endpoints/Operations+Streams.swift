// `receive` and `send`: bare migration streams, either end.

public import CheckpointStore
import MigrationEngine
public import Transport
import Wire

/// What a bare stream is taken from or given to.
public struct StreamRequest: Sendable {
  /// Where the stream comes from or goes to.
  public var uri: MigrationURI
  /// The checkpoint's name.
  public var name: String
  /// Whether to listen on addresses beyond this machine without encryption.
  public var allowsInsecure: Bool
  /// The guest's page size in bytes, for streams that do not tell (alpha, sparc64: 8192).
  public var targetPageSize: Int
  /// Whether pages are compressed where that pays.
  public var compresses: Bool

  /// A request with the defaults of the command line.
  public init(
    uri: MigrationURI, name: String, allowsInsecure: Bool = false, targetPageSize: Int = 4096,
    compresses: Bool = true
  ) {
    self.uri = uri
    self.name = name
    self.allowsInsecure = allowsInsecure
    self.targetPageSize = targetPageSize
    self.compresses = compresses
  }
}

/// What a sent stream was.
public struct SendResult: Sendable {
  /// The checkpoint's name.
  public var name: String
  /// Bytes written.
  public var wireBytes: UInt64
  /// Whether the other end confirmed that it loaded the machine; without a way back nobody can.
  public var isConfirmed: Bool
  /// How long it took, in seconds.
  public var seconds: Double
}

extension Operations {
  /// Takes one migration stream from an address and records it as a checkpoint.
  ///
  /// A socket address is listened on, once; `listening` is told the actual one (`tcp:…:0` picks a
  /// port). `exec:` and `file:` are read.
  public static func receive(
    _ request: StreamRequest, store: Store, observer: MoveObserver = MoveObserver(),
    listening: @escaping @Sendable (MigrationURI) -> Void = { _ in }
  ) async throws -> SaveResult {
    let start = ContinuousClock.now
    let writer = try store.beginCheckpoint(
      named: request.name,
      options: WriterOptions(compression: request.compresses ? .automatic : .none))
    let recording = RecordingOutcome()
    let recorder = CheckpointRecorder(
      writer: writer,
      origin: CheckpointRecorder.Origin(targetPageSize: request.targetPageSize),
      outcome: recording)
    let channel = try await open(request, listening)
    var options = DestinationOptions()
    options.decoder.targetPageSize = request.targetPageSize
    let engine = DestinationEngine(channel: channel, endpoint: recorder, options: options)
    let ticker = Task {
      var meter = ProgressMeter(targetPageSize: request.targetPageSize)
      while !Task.isCancelled {
        observer.progress(meter.incoming(engine.progress, phase: .memory))
        try? await Task.sleep(for: .milliseconds(100))
      }
    }
    defer { ticker.cancel() }
    do {
      _ = try await EngineThread.run("godwit-receive", cancel: { engine.cancel() }) {
        let report = try engine.run()
        if case .command = request.uri { try channel.requireCommandSuccess() }
        return report
      }
    } catch MigrationError.endpoint(_, let cause) {
      throw cause
    }
    guard let summary = recording.summary else {
      throw MoveError(.failed, "The engine ended without sealing checkpoint '\(request.name)'.")
    }
    return SaveResult(
      name: request.name, mode: nil, summary: summary, downtimeMilliseconds: nil,
      seconds: (ContinuousClock.now - start).inSeconds)
  }

  /// Writes a checkpoint to an address as a plain precopy stream, as QEMU would.
  public static func send(
    _ request: StreamRequest, store: Store, observer: MoveObserver = MoveObserver()
  ) async throws -> SendResult {
    let start = ContinuousClock.now
    let checkpoint = try store.checkpoint(named: request.name)
    let source = try CheckpointSource(checkpoint)
    let channel = try await EngineThread.run("godwit-connect", cancel: {}) {
      try ByteChannel.connect(to: request.uri, for: request.uri.purpose(sending: true))
    }
    // Only a socket has a way back.
    let isConfirmed = channel.isSocket
    let engine = SourceEngine(
      channel: channel, endpoint: source, plan: .precopy(returnPath: isConfirmed))
    let ticker = Task {
      var meter = ProgressMeter(targetPageSize: source.targetPageSize)
      while !Task.isCancelled {
        observer.progress(meter.outgoing(engine.progress, phase: .memory))
        try? await Task.sleep(for: .milliseconds(100))
      }
    }
    defer { ticker.cancel() }
    let report = try await EngineThread.run("godwit-send", cancel: { engine.cancel() }) {
      let report = try engine.run()
      if case .command = request.uri { try channel.requireCommandSuccess() }
      return report
    }
    return SendResult(
      name: request.name, wireBytes: report.bytesSent, isConfirmed: isConfirmed,
      seconds: (ContinuousClock.now - start).inSeconds)
  }

  private static func open(
    _ request: StreamRequest, _ listening: @escaping @Sendable (MigrationURI) -> Void
  ) async throws -> ByteChannel {
    switch request.uri {
    case .tcp, .unix:
      let listener = try Listener(request.uri, allowInsecure: request.allowsInsecure)
      listening(listener.address)
      return try await EngineThread.run("godwit-listen", cancel: { listener.cancel() }) {
        try listener.accept()
      }
    case .descriptor, .command, .file:
      return try await EngineThread.run("godwit-connect", cancel: {}) {
        try ByteChannel.connect(to: request.uri, for: request.uri.purpose(sending: false))
      }
    }
  }
}

extension MigrationURI {
  /// A socket carries a return path too; a command or a file gets the stream alone.
  fileprivate func purpose(sending: Bool) -> ChannelPurpose {
    switch self {
    case .tcp, .unix, .descriptor: .both
    case .command, .file: sending ? .writing : .reading
    }
  }
}
