// Which of the two machines may run, as the source knows it: the question that a failed move
// must answer before anything else.

/// What a source knows about the machine at the destination.
public enum DestinationRunState: Sendable, Equatable {
  /// It never got what it needs to run; the source may run on.
  case notStarted
  /// It may have begun to run: everything it needs was sent, and no word came back.
  case unknown
  /// It runs, or waits for pages; the source must not run again.
  case running

  /// What a person can do next.
  public var advice: String {
    switch self {
    case .notStarted:
      "The machine did not run at the destination; the source is unharmed and can be used again."
    case .unknown:
      "Whether the machine began to run at the destination is unknown: ask it (query-status, "
        + "query-migrate) before anything else is started from the same state."
    case .running:
      "The machine at the destination has begun to run and waits for the missing pages; nothing "
        + "is lost, and a recovery carries on."
    }
  }
}
