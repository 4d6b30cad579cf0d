// An error as one sentence for a person, whatever its type.

import Foundation

/// Errors in words.
enum Sentence {
  /// What to tell a person about an error.
  ///
  /// Godwit's own errors describe themselves; for a foreign one this is its localised
  /// description, never the name of a type or a case.
  static func about(_ error: any Error) -> String {
    if error is CancellationError { return "Cancelled." }
    // Foundation makes every error describable by a cast; only the type itself tells who can.
    guard type(of: error) is any CustomStringConvertible.Type else {
      return error.localizedDescription
    }
    return "\(error)"
  }
}
