// What ends a move, told of whom it comes from.

import MigrationCore
import Testing
import Transport

@testable import MigrationEngine

@Suite struct SourceFailureTests {
  private func sentence(_ cause: TransportError, _ state: DestinationRunState) -> String {
    MigrationError(sending: cause, during: "precopy", destination: state).description
  }

  @Test func `a file that is full, or a command that fails, is no destination that has closed`() {
    let full = sentence(.failed(action: "Writing to file:/dev/full", code: 28), .notStarted)
    #expect(full.contains("Writing to file:/dev/full failed: No space left on device"))
    let command = sentence(.commandFailed(command: "exit 3", exit: .status(3)), .notStarted)
    #expect(command.contains("'exit 3' ended with status 3"))
    for text in [full, command] {
      #expect(!text.contains("QEMU") && !text.contains("destination"), "\(text)")
    }
    // What a peer does, and what happens once the machine may run elsewhere, is a lost link.
    #expect(sentence(.peerGone(action: "Writing"), .notStarted).contains("The destination closed"))
    let late = MigrationError(
      sending: TransportError.failed(action: "Writing", code: 28), during: "precopy",
      destination: .running)
    #expect(late.destinationRunState == .running)
  }
}
