// Durations in sentences.

extension Duration {
  /// The duration in seconds for a sentence, rounded down to milliseconds: `5`, `1.5`, `0.03`.
  package var secondsText: String {
    let (whole, attoseconds) = components
    var digits = Array(String(1000 + attoseconds / 1_000_000_000_000_000).dropFirst())
    while digits.last == "0" { digits.removeLast() }
    return digits.isEmpty ? "\(whole)" : "\(whole)." + String(digits)
  }
}
