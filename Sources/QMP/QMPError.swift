// Everything that can go wrong on the way to a monitor's answer, each as a sentence.

public import Transport

/// Why a QMP command got no usable answer.
public enum QMPError: Error, Equatable, Sendable {
  /// The text names no monitor; `reason` completes "because".
  case badAddress(String, reason: String)
  /// The socket could not be opened, or failed.
  case transport(TransportError)
  /// The connection was accepted, and nothing came: another client holds the monitor.
  case noGreeting(address: String, after: Duration)
  /// What answers there does not speak QMP.
  case notQMP(address: String, found: String)
  /// QEMU refused the command, in its own words.
  case refused(command: String, class: String, description: String)
  /// The answer lacks what every QEMU says there.
  case unexpectedReply(command: String, missing: String)
  /// QEMU closed the monitor while the command was under way, or before.
  case connectionLost(command: String, address: String)
  /// The client was closed while the command was under way, or before.
  case closed(command: String)
  /// The task that waited for the answer was cancelled; QEMU may carry the command out even so.
  case cancelled(command: String)
  /// No answer came in the time allowed; QEMU may carry the command out all the same.
  case timedOut(command: String, after: Duration)
  /// QEMU takes no more commands for now: too many are unanswered.
  case stalled(command: String, address: String)
  /// The peer broke the protocol; the connection is closed.
  case violation(address: String, QMPViolation)
  /// QEMU cannot do what Godwit needs `setting` for.
  case unsupported(setting: String, version: String, purpose: String)
  /// QEMU refused a setting that Godwit needs for `purpose`.
  case settingRefused(setting: String, purpose: String, description: String)
  /// Settings that Godwit changed could not be put back.
  case notPutBack(settings: [String], description: String)
}

extension QMPError: CustomStringConvertible {
  /// A sentence for a person.
  public var description: String {
    switch self {
    case .badAddress(let text, let reason):
      "'\(text)' is no address of a QMP monitor: \(reason). Give the path of a Unix socket, or "
        + "HOST:PORT."
    case .transport(let error): error.description
    case .noGreeting(let address, let duration):
      "Connected to \(address), but QEMU's greeting did not come within "
        + "\(duration.secondsText) s. A monitor serves one client at a time: another client holds "
        + "this one, or QEMU hangs. Close the other client, or start QEMU with a second -qmp "
        + "socket."
    case .notQMP(let address, let found):
      "\(address) is not a QMP socket: expected QEMU's greeting, found \(found). Start QEMU with "
        + "-qmp unix:PATH,server=on,wait=off and give that PATH."
    case .refused(let command, _, let description):
      "QEMU refused '\(command)': \(Self.ended(description))"
    case .unexpectedReply(let command, let missing):
      "QEMU's answer to '\(command)' lacks \(missing); this version of QEMU may be unknown to "
        + "Godwit."
    case .connectionLost(let command, let address):
      "QEMU closed its monitor \(address) before it had answered '\(command)'. It has quit or "
        + "crashed; look at its standard error."
    case .closed(let command):
      "'\(command)' was not carried out: the connection to QEMU was closed here."
    case .cancelled(let command):
      "Waiting for the answer to '\(command)' was cancelled; QEMU may carry it out all the same."
    case .timedOut(let command, let duration):
      "QEMU did not answer '\(command)' within \(duration.secondsText) s. It hangs or is very "
        + "busy; it may carry the command out all the same."
    case .stalled(let command, let address):
      "'\(command)' was not sent: QEMU at \(address) has left too many commands unanswered. It "
        + "hangs or is very busy."
    case .violation(let address, let violation):
      "The peer at \(address) broke the QMP protocol: \(violation). The connection was closed."
    case .unsupported(let setting, let version, let purpose):
      "QEMU \(version) has no '\(setting)', which Godwit needs to \(purpose). Use a newer QEMU, or "
        + "another way to move the machine."
    case .settingRefused(let setting, let purpose, let description):
      "QEMU refused '\(setting)', which Godwit needs to \(purpose): \(Self.ended(description))"
    case .notPutBack(let settings, let description):
      "These migration settings of QEMU could not be put back as they were: "
        + "\(settings.joined(separator: ", ")). \(description)"
    }
  }

  /// QEMU's words as a sentence that another can follow; they mostly have no full stop.
  private static func ended(_ words: String) -> String {
    guard let last = words.last else { return "it does not say why." }
    return ".!?".contains(last) ? words : words + "."
  }
}
