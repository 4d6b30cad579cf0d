// What was seen of a move while it ran: figures a few times a second, and what happened when.

import JSON
import QMP
import Synchronization

/// The course of a move, for a report.
public struct MigrationCourse: Sendable, Equatable {
  /// What both ends said at one instant.
  public struct Sample: Sendable, Equatable {
    /// Seconds since the move began.
    public var seconds: Double
    /// The source's status, in QEMU's word.
    public var status: String
    /// How often the source has gathered what had become dirty.
    public var round: UInt64
    /// Bytes sent so far.
    public var wireBytes: UInt64
    /// Bytes of guest memory still to be sent.
    public var remainingBytes: UInt64
    /// Bytes sent in a second, over the last half second or so.
    public var bytesPerSecond: Double
    /// Bytes of guest memory made dirty in a second; nil before the source knows.
    public var dirtyBytesPerSecond: Double?
    /// Pages sent as one value throughout, so far.
    public var zeroPages: UInt64
    /// Pages sent as they are, so far.
    public var normalPages: UInt64
    /// Pages that the destination asked for, so far.
    public var pageRequests: UInt64
    /// How long the machine would stand still if it were switched over now, in milliseconds.
    public var expectedDowntimeMilliseconds: Double?
    /// By how much the vCPUs are slowed down, in percent.
    public var throttlePercentage: Int
  }

  /// Something that happened at one end.
  public struct Event: Sendable, Equatable {
    /// At which end.
    public enum End: String, Sendable {
      /// The one that had the machine.
      case source
      /// The one that got it.
      case destination
    }

    /// Seconds since the move began.
    public var seconds: Double
    /// At which end.
    public var end: End
    /// The event's name, such as `STOP`, or `MIGRATION active`.
    public var name: String

    /// Whether it tells of a round; a move without end has thousands of them.
    public var isPass: Bool { name.hasPrefix("MIGRATION_PASS") }
  }

  /// The figures, oldest first.
  public var samples: [Sample] = []
  /// What happened, in the order in which it became known.
  public var events: [Event] = []
  /// What the source is, such as `QEMU 10.0.2`; nil before it was asked.
  public var source: String?
  /// What the destination is.
  public var destination: String?

  /// The most samples that are kept.
  public static let sampleLimit = 4096
  /// The most events that are kept: of rounds, and of all others.
  public static let eventLimit = 1024

  /// An empty course.
  public init() {}

  /// Adds a sample; where there are too many, every other one is dropped first, so that a move of
  /// days takes no more room than one of minutes.
  mutating func add(_ sample: Sample) {
    if samples.count >= Self.sampleLimit {
      samples = samples.indices.filter { $0.isMultiple(of: 2) }.map { samples[$0] }
    }
    samples.append(sample)
  }

  /// Adds an event; where there are too many, some in the middle are dropped, so that a long move
  /// keeps its beginning and its end.
  mutating func add(_ event: Event) {
    if events.count >= Self.eventLimit { makeRoom(for: event) }
    events.append(event)
  }

  private mutating func makeRoom(for event: Event) {
    let alike = events.indices.filter { events[$0].isPass == event.isPass }
    guard alike.count >= Self.eventLimit else { return }
    let dropped = Set(alike[(Self.eventLimit / 2)...].prefix(Self.eventLimit / 8))
    events = events.indices.filter { !dropped.contains($0) }.map { events[$0] }
  }
}

/// The course of a move while it is being recorded.
public final class MigrationTrace: Sendable {
  private struct State {
    var course = MigrationCourse()
    var stopped: QMPEvent?
    var resumed: QMPEvent?
    /// Whether both ends tell the time by one clock.
    var hasOneClock = true
    var tasks: [Task<Void, Never>] = []
  }

  private let start = ContinuousClock.now
  private let state = Mutex(State())

  /// An empty trace that begins now.
  public init() {}

  deinit { state.withLock { $0.tasks.forEach { $0.cancel() } } }

  /// What has been recorded so far.
  public var course: MigrationCourse { state.withLock { $0.course } }

  /// Seconds since the trace began.
  var seconds: Double { (ContinuousClock.now - start).inSeconds }

  /// Records what an end reports, from now on.
  func follow(_ client: QMPClient, as end: MigrationCourse.Event.End) {
    let events = client.events()
    let version = client.version
    let name = version.isGodwit ? "a machine of Godwit's own" : "QEMU \(version)"
    state.withLock { state in
      if client.isForwarded { state.hasOneClock = false }
      switch end {
      case .source: state.course.source = name
      case .destination: state.course.destination = name
      }
    }
    let task = Task { [weak self] in
      for await event in events {
        guard let self else { return }
        self.take(event, at: end)
      }
    }
    state.withLock { $0.tasks.append(task) }
  }

  func add(_ sample: MigrationCourse.Sample) { state.withLock { $0.course.add(sample) } }

  private func take(_ event: QMPEvent, at end: MigrationCourse.Event.End) {
    var name = event.name
    switch name {
    case "STOP", "RESUME", "SHUTDOWN", "RESET": break
    case "MIGRATION": name += " \(event.data["status"]?.string ?? "")"
    case "MIGRATION_PASS": name += " \(event.data["pass"]?.int ?? 0)"
    default: return
    }
    let seconds = (event.arrival - start).inSeconds
    state.withLock { state in
      state.course.add(MigrationCourse.Event(seconds: seconds, end: end, name: name))
      if end == .source, name == "STOP" { state.stopped = event }
      if end == .destination, name == "RESUME", state.resumed == nil { state.resumed = event }
    }
  }

  /// Whether the machine has stopped at the source.
  var hasStopped: Bool { state.withLock { $0.stopped != nil } }

  /// Whether the machine has begun to run at the destination.
  var hasResumed: Bool { state.withLock { $0.resumed != nil } }

  /// How long the machine stood still, from its last stop at the source to its start at the
  /// destination, by the clocks of the two endpoints; nil where that makes no sense: it did not
  /// stop, or has not started.
  ///
  /// Clocks of two hosts cannot be compared: there it is from when the one was heard of here to
  /// when the other was, which is longer by the time of the way.
  var downtimeMilliseconds: Double? {
    state.withLock { state in
      guard let stopped = state.stopped, let resumed = state.resumed else { return nil }
      guard state.hasOneClock else {
        return max(0, (resumed.arrival - stopped.arrival).inSeconds * 1000)
      }
      let (from, to) = (stopped.timestamp, resumed.timestamp)
      guard from.seconds >= 0, to.seconds >= 0 else { return nil }
      let microseconds = to.microseconds(since: from)
      return microseconds >= 0 ? Double(microseconds) / 1000 : nil
    }
  }
}
