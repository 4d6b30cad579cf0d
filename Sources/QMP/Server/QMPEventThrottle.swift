// Events that a guest can cause as often as it likes, sent no more often than their interval: the
// first at once, of those that follow the last when the interval is over.

import JSON

/// Which events wait, and until when.
struct QMPEventThrottle: Sendable {
  private struct Held {
    var due: ContinuousClock.Instant
    /// The last event since; nil where none came.
    var data: JSONValue?
  }

  private var held: [String: Held] = [:]

  /// Takes an event in.
  /// - Returns: whether it is to be sent now.
  mutating func pass(
    _ event: String, _ data: JSONValue, every interval: Duration, at now: ContinuousClock.Instant
  ) -> Bool {
    guard let earlier = held[event], earlier.due > now else {
      held[event] = Held(due: now + interval, data: nil)
      return true
    }
    held[event]?.data = data
    return false
  }

  /// When the next event that waits is due; nil where none waits.
  var nextDue: ContinuousClock.Instant? {
    held.values.filter { $0.data != nil }.map(\.due).min()
  }

  /// Takes out an event that is due; its interval begins anew.
  mutating func takeDue(
    at now: ContinuousClock.Instant, interval: (String) -> Duration
  ) -> (event: String, data: JSONValue)? {
    for (event, waiting) in held where waiting.due <= now {
      guard let data = waiting.data else { continue }
      held[event] = Held(due: now + interval(event), data: nil)
      return (event, data)
    }
    return nil
  }
}
