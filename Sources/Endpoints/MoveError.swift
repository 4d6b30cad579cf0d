// Why a move was refused or failed, as a sentence for the person who asked for it.

/// What went wrong with a move, and what can be done about it.
///
/// `description` is a whole sentence (or several), fit to be printed after "godwit: ".
public struct MoveError: Error, CustomStringConvertible, Sendable {
  /// The kind of failure, for programs.
  public enum Code: String, Sendable {
    /// The request cannot be carried out as asked; nothing was touched.
    case refused
    /// The machine, QEMU or peer is not in a state in which this can be done.
    case wrongState = "wrong-state"
    /// The destination does not fit the checkpoint.
    case mismatch
    /// The move began and broke; the description says where the machine is.
    case failed
    /// The move was cancelled by the person.
    case cancelled
  }

  /// The kind of failure.
  public let code: Code
  /// The whole story: what was being done, to what, what was found, and what to do next.
  public let description: String

  /// An error of a kind with its sentences.
  public init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }

  /// The error as a sentence, whatever its type: every error of Godwit's modules describes itself.
  static func sentence(of error: any Error) -> String { "\(error)" }
}
