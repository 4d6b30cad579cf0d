// State of a vCPU that is a number or a pair.

/// Whether a vCPU runs, by `KVM_MP_STATE_…`.
public enum MPState: UInt32, Equatable, Sendable {
  /// It runs.
  case runnable = 0
  /// It waits for INIT.
  case uninitialized = 1
  /// It waits for a startup message.
  case initReceived = 2
  /// It halted and waits for an interrupt.
  case halted = 3
  /// It got its startup message.
  case startupReceived = 4
}

/// A model-specific register and its value.
public struct ModelSpecificRegister: Equatable, Sendable {
  /// Its number, as in ECX of RDMSR.
  public var index: UInt32
  /// Its value.
  public var value: UInt64

  /// A register.
  public init(index: UInt32, value: UInt64 = 0) {
    self.index = index
    self.value = value
  }
}

/// An extended control register and its value.
public struct ExtendedControlRegister: Equatable, Sendable {
  /// Its number, as in ECX of XGETBV; 0 says which state components are on.
  public var index: UInt32
  /// Its value.
  public var value: UInt64

  /// A register.
  public init(index: UInt32, value: UInt64 = 0) {
    self.index = index
    self.value = value
  }
}
