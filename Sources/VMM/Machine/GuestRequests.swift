// The way from a guest's request to the machine's own thread.

/// What guests have asked for and nobody has carried out yet.
///
/// It is made before the devices that post to it and the machine that takes from it.
final class GuestRequests: Sendable {
  private struct State {
    var queue: [GuestRequest] = []
    var isOver = false
  }

  private let state = Monitor(State())

  /// Has the machine's own thread carry a guest's request out; from any thread.
  ///
  /// Of several sizes of the balloon in a row only the last is kept, so that a guest that changes
  /// nothing else cannot fill the queue.
  func post(_ request: GuestRequest) {
    state.update { state in
      if case .balloonChanged = request, case .balloonChanged = state.queue.last {
        state.queue.removeLast()
      }
      state.queue.append(request)
    }
  }

  /// Waits for the next request of the guest; nil once the machine has ended.
  func next() -> GuestRequest? {
    state.wait { state -> GuestRequest?? in
      if state.isOver { return .some(nil) }
      // A conditional expression would make of its nil the end instead of "not yet".
      if state.queue.isEmpty { return nil }
      return .some(state.queue.removeFirst())
    }
  }

  /// Drops what was asked for before a reset.
  func drop() {
    state.update { $0.queue.removeAll() }
  }

  /// Ends all waiting.
  ///
  /// - Returns: whether this call did so.
  func close() -> Bool {
    state.update { state in
      defer { state.isOver = true }
      return !state.isOver
    }
  }
}
