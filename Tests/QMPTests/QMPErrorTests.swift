// Every error of the module as the sentence that a person reads.

import QMP
import Testing
import Transport

@Suite struct QMPErrorTests {
  @Test(
    arguments: [
      (
        QMPError.badAddress("x", reason: "it is empty"),
        "'x' is no address of a QMP monitor: it is empty. Give the path of a Unix socket, or "
          + "HOST:PORT."
      ),
      (.transport(.cancelled(action: "Reading from x")), "Reading from x was cancelled."),
      (
        .noGreeting(address: "/x", after: .seconds(5)),
        "Connected to /x, but QEMU's greeting did not come within 5 s. A monitor serves one "
          + "client at a time: another client holds this one, or QEMU hangs. Close the "
          + "other client, "
          + "or start QEMU with a second -qmp socket."
      ),
      (
        .notQMP(address: "/x", found: "the end of the connection"),
        "/x is not a QMP socket: expected QEMU's greeting, found the end of the connection. Start "
          + "QEMU with -qmp unix:PATH,server=on,wait=off and give that PATH."
      ),
      (
        .refused(command: "cont", class: "GenericError", description: "Guest state is bad"),
        "QEMU refused 'cont': Guest state is bad."
      ),
      (
        .unexpectedReply(command: "query-kvm", missing: "enabled"),
        "QEMU's answer to 'query-kvm' lacks enabled; this version of QEMU may be unknown to Godwit."
      ),
      (
        .connectionLost(command: "cont", address: "/x"),
        "QEMU closed its monitor /x before it had answered 'cont'. It has quit or crashed; look at "
          + "its standard error."
      ),
      (
        .closed(command: "cont"),
        "'cont' was not carried out: the connection to QEMU was closed here."
      ),
      (
        .cancelled(command: "cont"),
        "Waiting for the answer to 'cont' was cancelled; QEMU may carry it out all the same."
      ),
      (
        .timedOut(command: "cont", after: .milliseconds(1500)),
        "QEMU did not answer 'cont' within 1.5 s. It hangs or is very busy; it may carry the "
          + "command out all the same."
      ),
      (
        .stalled(command: "cont", address: "/x"),
        "'cont' was not sent: QEMU at /x has left too many commands unanswered. It "
          + "hangs or is very "
          + "busy."
      ),
      (
        .violation(address: "/x", .unknownReply),
        "The peer at /x broke the QMP protocol: an answer came to a command that was not sent. The "
          + "connection was closed."
      ),
      (
        .unsupported(setting: "mapped-ram", version: "7.2.22", purpose: "read a file"),
        "QEMU 7.2.22 has no 'mapped-ram', which Godwit needs to read a file. Use a newer QEMU, or "
          + "another way to move the machine."
      ),
      (
        .settingRefused(setting: "multifd", purpose: "be fast", description: "Not with that"),
        "QEMU refused 'multifd', which Godwit needs to be fast: Not with that."
      ),
      (
        .notPutBack(settings: ["a", "b"], description: "QEMU refused 'x': y"),
        "These migration settings of QEMU could not be put back as they were: a, b. QEMU refused "
          + "'x': y"
      ),
    ] as [(QMPError, String)])
  func `an error is a sentence`(error: QMPError, sentence: String) {
    #expect(error.description == sentence)
  }
}
