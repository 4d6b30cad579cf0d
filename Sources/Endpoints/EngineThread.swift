// The one place where async control and the blocking data plane meet.

import Transport

/// Runs a blocking engine on a thread of its own and awaits its end.
enum EngineThread {
  /// Starts `body` on its own thread and suspends until it returns.
  ///
  /// Cancelling the surrounding task calls `cancel`, which must make `body` return soon; the
  /// result, an error as a rule, is still awaited, so no thread outlives this call.
  static func run<Value: Sendable>(
    _ name: String, cancel: @escaping @Sendable () -> Void,
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        do {
          // The thread detaches itself when this handle is dropped; the continuation is its end.
          _ = try NamedThread(name: name) {
            continuation.resume(with: Result { try body() })
          }
        } catch {
          continuation.resume(throwing: error)
        }
      }
    } onCancel: {
      cancel()
    }
  }
}
