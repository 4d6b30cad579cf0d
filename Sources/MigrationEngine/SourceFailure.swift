// From what a sending thread met to what a person is told.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// A place for one error that two threads see.
final class FirstError: Sendable {
  private let slot: Mutex<(any Error)?> = Mutex(nil)

  /// The first error that was stored.
  var error: (any Error)? { slot.withLock { $0 } }

  func store(_ error: any Error) {
    slot.withLock { if $0 == nil { $0 = error } }
  }
}

/// The destination closed the link where it should have said something.
struct ClosedEarly: Error {}

/// The destination said that it failed.
struct DestinationFailure: Error {
  let code: UInt32
}

/// Something of the host was not to be had.
struct ResourceFailure: Error {
  let activity: String
  let cause: any Error
}

extension MigrationError {
  /// What `error` means for a source that was doing `activity`.
  init(sending error: any Error, during activity: String, destination state: DestinationRunState) {
    switch error {
    case let error as MigrationError:
      self = error
    case let error as EndpointFailure:
      self = .own(during: error.activity, destination: state, cause: error.cause)
    case let error as ResourceFailure where state == .notStarted:
      self = .resources(during: error.activity, cause: error.cause)
    case let error as ResourceFailure:
      self = .own(during: error.activity, destination: state, cause: error.cause)
    case let error as DestinationFailure:
      self = .destinationFailed(code: error.code)
    case let error as ProtocolViolation:
      self = .destinationViolation(error, destination: state)
    case let error as WireError where error.kind != .notEncodable:
      let violation = ProtocolViolation(
        during: activity, expected: error.expected,
        found: "\(error.found) (\(error.reading), byte \(error.offset) of the return path)")
      self = .destinationViolation(violation, destination: state)
    case let error as IllegalTransition:
      self = .internal(error)
    case let error as PreemptFailure:
      self = .secondChannel(destination: state, cause: error.cause)
    case let error as PreemptChannelLost:
      self = .closed(during: activity, destination: state, cause: error)
    case is ClosedEarly:
      self = .closed(during: activity, destination: state, cause: nil)
    case let error as TransportError where state == .notStarted && error.isLocal:
      self = .endpoint(during: activity, cause: error)
    case is TransportError:
      self = .closed(during: activity, destination: state, cause: error)
    default:
      self = .own(during: activity, destination: state, cause: error)
    }
  }

  /// Something of this side failed; where the machine may run elsewhere by then, that counts more.
  private static func own(
    during activity: String, destination state: DestinationRunState, cause: any Error
  ) -> MigrationError {
    state == .notStarted
      ? .endpoint(during: activity, cause: cause)
      : .linkLost(during: activity, destination: state, cause: cause)
  }

  private static func closed(
    during activity: String, destination state: DestinationRunState, cause: (any Error)?
  ) -> MigrationError {
    state == .notStarted
      ? .destinationClosed(during: activity, cause: cause)
      : .linkLost(during: activity, destination: state, cause: cause)
  }
}
