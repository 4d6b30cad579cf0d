// Everything that can end a migration early, told as a person needs to hear it: what was being
// done, what was found, and what state the machine is left in.

public import MigrationCore

/// Why a migration did not complete.
public enum MigrationError: Error {
  /// The destination closed the link, or it broke, before the machine could have run there.
  case destinationClosed(during: String, cause: (any Error)?)
  /// The link broke after the machine began, or may have begun, to run at the destination.
  case linkLost(during: String, destination: DestinationRunState, cause: (any Error)?)
  /// The destination reported failure over the return path.
  case destinationFailed(code: UInt32)
  /// The destination said or asked something that has no place in the protocol at that point.
  case destinationViolation(ProtocolViolation, destination: DestinationRunState)
  /// The source closed the link, or it broke, before the machine was whole.
  case sourceClosed(during: String, bytesReceived: UInt64, cause: (any Error)?)
  /// The link broke, or its source did what it must not, after the machine had begun to run here.
  case interrupted(during: String, bytesReceived: UInt64, cause: (any Error)?)
  /// The stream of the source cannot be decoded.
  case malformedStream(bytesReceived: UInt64, cause: any Error)
  /// The source does something this destination does not take.
  case refused(reason: String, bytesReceived: UInt64)
  /// The endpoint that holds or takes the machine failed.
  case endpoint(during: String, cause: any Error)
  /// Pages could not be read; the machine at the destination waits for them.
  case damagedPages(count: Int, destination: DestinationRunState)
  /// The channel could not be set up or its threads not started.
  case resources(during: String, cause: any Error)
  /// The channel of a postcopy's requested pages (`postcopy-preempt`) could not be opened.
  case secondChannel(destination: DestinationRunState, cause: any Error)
  /// Somebody asked for an end.
  case cancelled(destination: DestinationRunState)
  /// The engine's own rules were broken.
  case `internal`(IllegalTransition)
}

extension MigrationError {
  /// Whether the machine runs at the destination and waits there for a recovery: after this error
  /// the source's copy must not be started, and the recovery can be tried again.
  public var isRecoverable: Bool { destinationRunState == .running }

  /// What is known about the machine at the destination.
  public var destinationRunState: DestinationRunState {
    switch self {
    case .linkLost(_, let state, _), .destinationViolation(_, let state),
      .damagedPages(_, let state), .secondChannel(let state, _), .cancelled(let state):
      state
    case .interrupted: .running
    // Rules that were broken say nothing about where the machine is.
    case .internal: .unknown
    case .destinationClosed, .destinationFailed, .sourceClosed, .malformedStream, .refused,
      .endpoint, .resources:
      .notStarted
    }
  }
}

extension MigrationError: CustomStringConvertible {
  /// A sentence for a person.
  public var description: String {
    switch self {
    case .destinationClosed(let activity, let cause):
      "The destination closed the connection before its machine could run, during \(activity)"
        + Self.because(cause)
        + ". The QEMU there has probably ended: its error output says why. Nothing ran, and the "
        + "source is unharmed; start a QEMU with the same machine and try again."
    case .linkLost(let activity, let state, let cause):
      "The connection to the destination was lost during \(activity)\(Self.because(cause)). "
        + state.advice
    case .destinationFailed(let code):
      "The destination reported over the return path that it could not load the machine "
        + "(SHUT with \(code) where 0 means success). Its error output says why; the source is "
        + "unharmed."
    case .destinationViolation(let violation, let state):
      "\(violation.description) \(state.advice)"
    case .sourceClosed(let activity, let bytes, let cause):
      "The source closed the connection after \(bytes) bytes, during \(activity)"
        + Self.because(cause)
        + ": the machine is not whole and was not kept. Ask the source (query-migrate) why it "
        + "ended."
    case .interrupted(let activity, let bytes, let cause):
      "The connection to the source was lost after \(bytes) bytes, during \(activity)"
        + Self.because(cause)
        + ". The machine goes on with what it has and waits for the rest: connect a source again "
        + "(migrate-recover)."
    case .malformedStream(let bytes, let cause):
      "The migration stream cannot be read, \(bytes) bytes after its beginning: \(cause)"
    case .refused(let reason, let bytes):
      "The migration was refused \(bytes) bytes after its beginning: \(reason)"
    case .endpoint(let activity, let cause):
      "The migration ended during \(activity): \(cause)"
    case .damagedPages(let count, let state):
      "\(count) pages could not be read and were not sent; all others were. \(state.advice)"
    case .resources(let activity, let cause):
      "The migration could not begin: \(activity) failed: \(cause)"
    case .secondChannel(let state, let cause):
      "The second connection, over which requested pages go (postcopy-preempt), could not be "
        + "made: \(cause). The capability has to be on at both ends, or off at both. "
        + state.advice
    case .cancelled(let state):
      "The migration was cancelled. \(state.advice)"
    case .internal(let transition):
      "\(transition.description) \(DestinationRunState.unknown.advice)"
    }
  }

  private static func because(_ cause: (any Error)?) -> String {
    cause.map { " (\($0))" } ?? ""
  }
}
