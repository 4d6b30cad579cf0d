// Every error of the module as the sentence that a person reads.

import Glibc
import Testing

@testable import Transport

@Suite struct TransportErrorTests {
  @Test(
    arguments: [
      (
        TransportError.badURI("x", reason: "it has no scheme"),
        "'x' is not a migration address that Godwit can open: it has no scheme."
      ),
      (
        .unsuitableURI("file:x", reason: "a file has no return path"),
        "'file:x' cannot be used here: a file has no return path."
      ),
      (
        .unknownHost("nowhere", reason: "Name or service not known"),
        "Looking up the host 'nowhere' failed: Name or service not known. Check its spelling, or "
          + "give an address."
      ),
      (
        .failed(action: "Connecting to tcp:localhost:1", code: ECONNREFUSED),
        "Connecting to tcp:localhost:1 failed: Connection refused. Nothing listens "
          + "there: check the "
          + "address, and that the other side runs."
      ),
      (
        .failed(action: "Connecting to unix:/x", code: ENOENT),
        "Connecting to unix:/x failed: No such file or directory. Check the path, and that the "
          + "other side has started."
      ),
      (
        .failed(action: "Opening /x", code: EACCES),
        "Opening /x failed: Permission denied. Run as the user who owns it, or change its "
          + "permissions."
      ),
      (
        .failed(action: "Listening on tcp:localhost:1", code: EADDRINUSE),
        "Listening on tcp:localhost:1 failed: Address already in use. Choose another address, or "
          + "end what uses this one."
      ),
      (
        .failed(action: "Writing to file:x", code: ENOSPC),
        "Writing to file:x failed: No space left on device. Free some space and try again."
      ),
      (
        .failed(action: "Reading from fd:5", code: EIO),
        "Reading from fd:5 failed: Input/output error."
      ),
      (
        .timedOut(action: "Connecting to unix:x", after: .milliseconds(1500)),
        "Connecting to unix:x was given up: nothing happened for 1.5 s."
      ),
      (
        .timedOut(action: "Connecting to unix:x", after: .seconds(5)),
        "Connecting to unix:x was given up: nothing happened for 5 s."
      ),
      (.cancelled(action: "Reading from unix:x"), "Reading from unix:x was cancelled."),
      (
        .peerGone(action: "Writing to unix:x"),
        "Writing to unix:x failed: the other side has closed the connection. Look at its log for "
          + "the reason."
      ),
      (
        .writingEnded(peer: "unix:x"),
        "Writing to unix:x is over: this side has already ended the stream."
      ),
      (
        .notLoopback("tcp::1"),
        "Listening on tcp::1 was refused: other machines reach this address, and whoever connects "
          + "first could read or replace a machine's memory. Use a loopback address "
          + "(through an SSH "
          + "tunnel, say), or allow it expressly as insecure."
      ),
      (
        .commandFailed(command: "false", exit: .status(1)),
        "The command 'false' ended with status 1. Its own messages are on standard error."
      ),
      (
        .commandFailed(command: "x", exit: .signal(9)),
        "The command 'x' was ended by signal 9. Its own messages are on standard error."
      ),
    ] as [(TransportError, String)])
  func `an error is a sentence`(error: TransportError, sentence: String) {
    #expect(error.description == sentence)
  }

  @Test func `only failed calls have an error number`() {
    #expect(TransportError.failed(action: "x", code: 5).code == 5)
    #expect(TransportError.cancelled(action: "x").code == nil)
  }

  @Test func `a wait status is decoded as the kernel encodes it`() {
    #expect(CommandExit(waitStatus: 0x0300) == .status(3))
    #expect(CommandExit(waitStatus: 9) == .signal(9))
    #expect(CommandExit(waitStatus: 0x8B) == .signal(11))  // with a core file
  }
}
