// What the pager asks of the machine, and the answers.

internal import MigrationEngine
internal import Synchronization

/// Calls over the control link; several threads may wait for answers at a time.
final class MachineCalls: Sendable {
  fileprivate struct Waiting {
    var next: UInt32 = 0
    var answers: [UInt32: PagerAnswer?] = [:]
  }

  private let control: PagerControl
  private let waiting = Mutex(Waiting())
  private let signal = Signal()

  init(_ control: PagerControl) {
    self.control = control
  }

  /// Asks, and waits for the answer.
  ///
  /// Waits for ever where the machine is gone: then this process ends.
  func call(_ call: PagerCall) throws -> [UInt32] {
    let number = waiting.withLock { waiting in
      waiting.next += 1
      waiting.answers[waiting.next] = .some(nil)
      return waiting.next
    }
    try control.send(.call(number, call))
    while true {
      let seen = signal.changeCount
      if let answer = waiting.withLock({ $0.take(number) }) {
        switch answer {
        case .done(let order): return order
        case .refused(let sentence): throw PagerError.refused(sentence)
        }
      }
      signal.wait(after: seen, timeout: .seconds(60))
    }
  }

  /// Takes an answer in; one that nobody waits for is a violation.
  func answer(_ number: UInt32, _ answer: PagerAnswer) throws(PagerError) {
    let isExpected = waiting.withLock { waiting in
      guard case .some(.none) = waiting.answers[number] else { return false }
      waiting.answers[number] = .some(answer)
      return true
    }
    guard isExpected else { throw .protocolViolation("nobody asked for the answer \(number)") }
    signal.announce()
  }
}

extension MachineCalls.Waiting {
  /// The answer to a call, once.
  fileprivate mutating func take(_ number: UInt32) -> PagerAnswer? {
    guard case .some(.some(let answer)) = answers[number] else { return nil }
    answers[number] = nil
    return answer
  }
}
