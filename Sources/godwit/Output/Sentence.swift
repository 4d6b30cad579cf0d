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
    // Foundation makes every error describable by a cast; only the type itself tells who can, and
    // its own describe themselves for programmers.
    let type = type(of: error)
    guard type is any CustomStringConvertible.Type, !(type is NSError.Type),
      !(type is CocoaError.Type), !(type is POSIXError.Type)
    else { return foreign(error) }
    return "\(error)"
  }

  /// Foundation's words; where it has only a number, those of the error behind it.
  private static func foreign(_ error: any Error) -> String {
    let text = error.localizedDescription
    if text.contains(CocoaError.errorDomain), let cause = (error as? CocoaError)?.underlying {
      return foreign(cause)
    }
    return text.hasSuffix(".") ? text : text + "."
  }
}
