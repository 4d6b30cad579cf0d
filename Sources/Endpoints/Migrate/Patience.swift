// Waiting for endpoints that may stand still: never in silence, and never past a Ctrl-C.

import QMP

/// How long Godwit waits for an endpoint's answer: as long as it takes, since one that stands for a
/// while has not failed, but only until somebody asks it to stop.
struct Patience: Sendable {
  let interruption: MoveInterruption
  let note: @Sendable (String) -> Void
  /// How long an endpoint may be silent before the person is told.
  var untilNote = Duration.seconds(5)
  /// How long it is then before they are told again.
  var betweenNotes = Duration.seconds(30)
  /// How long an answer may take once Godwit was asked to stop.
  var afterInterruption = Duration.seconds(2)

  private static let look = Duration.milliseconds(50)

  init(_ interruption: MoveInterruption, note: @escaping @Sendable (String) -> Void) {
    self.interruption = interruption
    self.note = note
  }

  /// What the endpoint at `address` answers.
  /// - Parameters:
  ///   - address: what notes call it.
  ///   - minds: whether a wish to stop ends the wait; false where it has been heard already.
  ///   - ask: asks it; cancelled once it is not waited for any longer.
  /// - Throws: ``NoAnswer`` where somebody wished to stop and no answer came; what `ask` throws.
  func answer<Value: Sendable>(
    from address: String, mindsInterruption minds: Bool = true,
    _ ask: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
      group.addTask { try await ask() }
      group.addTask {
        try await watch(address, minds)
        return nil
      }
      defer { group.cancelAll() }
      while let answer = try await group.next() {
        if let answer { return answer }
      }
      throw NoAnswer(address: address)
    }
  }

  /// Says how long it takes, until it has taken too long.
  private func watch(_ address: String, _ minds: Bool) async throws {
    let start = ContinuousClock.now
    var nextNote = start + untilNote
    var end: ContinuousClock.Instant?
    while (try? await Task.sleep(for: Self.look)) != nil {
      let now = ContinuousClock.now
      if minds, interruption.isRequested {
        let limit = end ?? now + afterInterruption
        end = limit
        if now >= limit { throw NoAnswer(address: address) }
      }
      guard now >= nextNote else { continue }
      nextNote = now + betweenNotes
      let seconds = Int((now - start).inSeconds.rounded())
      note(
        "The endpoint at \(address) has not answered for \(seconds) s. Godwit waits for it"
          + (minds ? "; Ctrl-C ends that." : "."))
    }
  }
}

/// Somebody wished to stop while an endpoint did not answer.
struct NoAnswer: Error, CustomStringConvertible {
  /// The endpoint's address.
  var address: String

  var description: String {
    "Godwit was stopped while the endpoint at \(address) did not answer. What was under way there "
      + "was not cancelled, and may go on once it answers again."
  }
}

/// What kept a move from being begun: the source was not told to send, or refused.
struct NotBegun: Error, CustomStringConvertible {
  let cause: any Error

  var description: String { "\(cause)" }
}
