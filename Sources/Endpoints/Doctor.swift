// What this host can do for Godwit, what it cannot, and what to do about that.

/// One thing that was looked at.
public struct DoctorFinding: Sendable, Equatable {
  /// How it stands.
  public enum State: String, Sendable {
    /// It is as it should be.
    case ok
    /// It works, with a limit that the message names.
    case limited
    /// It is not there; the advice says how to get it.
    case missing
  }

  /// What was looked at, in a word or two.
  public let topic: String
  /// How it stands.
  public let state: State
  /// What was found.
  public let message: String
  /// What to do about it; nil where there is nothing to do.
  public let advice: String?

  init(_ topic: String, _ state: State, _ message: String, advice: String? = nil) {
    self.topic = topic
    self.state = state
    self.message = message
    self.advice = advice
  }
}

/// Examines the host.
///
/// Changes nothing; starts each QEMU it finds once, for its version.
public enum Doctor {
  /// Looks at everything that Godwit's commands depend on.
  /// - Parameter storePath: the folder of the store that would be used.
  public static func examine(storePath: String) async -> [DoctorFinding] {
    var findings = await DoctorQEMU.findings()
    findings += DoctorKernel.findings()
    findings += DoctorDirtyLog.findings()
    findings += DoctorStore.findings(path: storePath)
    return findings
  }
}
