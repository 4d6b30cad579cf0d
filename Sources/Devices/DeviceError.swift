// Everything that can keep a device from being made, each as a sentence.

public import Transport

/// Why a device could not be created.
public enum DeviceError: Error, Equatable, Sendable {
  /// A system call failed while doing what `doing` says ("Opening the disk image 'x'").
  case system(doing: String, code: Int32)
  /// A channel, thread or socket could not be made.
  case transport(TransportError)
  /// The file is no disk that a guest can be given; `reason` is a clause.
  case unsuitableDisk(path: String, reason: String)
  /// A value given to a device is outside what it can be; `reason` is a sentence.
  case badSetting(device: String, reason: String)
}

extension DeviceError: CustomStringConvertible {
  /// A sentence for a person: what was being done, to what, what was found, what to do next.
  public var description: String {
    switch self {
    case .system(let action, let code):
      "\(action) failed: \(SystemErrors.text(of: code)).\(SystemErrors.advice(for: code))"
    case .transport(let error):
      error.description
    case .unsuitableDisk(let path, let reason):
      "The disk image '\(path)' cannot be used: \(reason)."
    case .badSetting(let device, let reason):
      "The device '\(device)' cannot be made: \(reason)"
    }
  }
}
