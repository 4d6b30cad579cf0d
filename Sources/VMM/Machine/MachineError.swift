// What can go wrong with a machine, in sentences for a person.

/// Why a machine cannot be built, started or controlled.
public enum MachineError: Error, Sendable, CustomStringConvertible {
  /// The host cannot run guests, or may not for this user.
  case noAccelerator(String)
  /// The kernel refused something while the machine was built or run.
  case kernel(action: String, reason: String)
  /// The memory asked for is none, too much, or no whole number of pages.
  case memory(byteCount: UInt64, reason: String)
  /// A number of processors that cannot be had.
  case processors(count: Int, most: Int)
  /// A file that is to be booted cannot be read, or is not what it should be.
  case boot(path: String, reason: String)
  /// The images to be booted do not fit into the guest's memory.
  case bootRoom(needed: UInt64, memory: UInt64, reason: String)
  /// A device's file, socket or interface cannot be had.
  case device(String)
  /// The request does not go with the machine's run state.
  case runState(RunStateViolation)
  /// The configuration asks for two things that exclude each other.
  case configuration(String)
  /// A file that says which pages need not travel cannot be read, or is for another machine.
  case exclusion(path: String, reason: String)
  /// What a client asks for cannot be done now, or never with this machine.
  case refused(String)

  /// What was being done, to what, what was found, and what to do next.
  public var description: String {
    switch self {
    case .noAccelerator(let sentence), .device(let sentence), .configuration(let sentence),
      .refused(let sentence):
      sentence
    case .kernel(let action, let reason): "\(action): \(reason)"
    case .memory(let byteCount, let reason):
      "cannot give the machine \(Self.size(byteCount)) of memory: \(reason)"
    case .processors(let count, let most):
      "cannot give the machine \(count) processors: this host allows 1 to \(most)"
    case .boot(let path, let reason): "cannot boot '\(path)': \(reason)"
    case .bootRoom(let needed, let memory, let reason):
      "cannot boot in \(memory / (1 << 20)) MiB of memory: \(reason), which needs "
        + "\((needed + (1 << 20) - 1) / (1 << 20)) MiB; give the machine more memory"
    case .runState(let violation): violation.description
    case .exclusion(let path, let reason):
      "'\(path)' does not say which pages need not travel: \(reason)"
    }
  }

  private static func size(_ byteCount: UInt64) -> String {
    byteCount < 1 << 20 ? "\(byteCount) bytes" : "\(byteCount >> 20) MiB"
  }
}
