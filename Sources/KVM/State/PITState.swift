// The interval timer, as the kernel keeps it.

import CLinux

/// The state of the interval timer (`struct kvm_pit_state2`).
public struct PITState: Equatable, Sendable {
  /// One of its three counters (`struct kvm_pit_channel_state`).
  public struct Channel: Equatable, Sendable {
    /// Initial count; 65536 is stored as such.
    public var count: UInt32 = 0
    /// The count as latched.
    public var latchedCount: UInt16 = 0
    /// Which bytes of it are latched.
    public var countLatched: UInt8 = 0
    /// Whether the status is latched.
    public var statusLatched: UInt8 = 0
    /// The status as latched.
    public var status: UInt8 = 0
    /// Which byte is read next.
    public var readState: UInt8 = 0
    /// Which byte is written next.
    public var writeState: UInt8 = 0
    /// The low byte of a write in two steps.
    public var writeLatch: UInt8 = 0
    /// How counts are read and written.
    public var accessMode: UInt8 = 0
    /// The counting mode.
    public var mode: UInt8 = 0
    /// Whether it counts in decimal.
    public var bcd: UInt8 = 0
    /// The gate's level.
    public var gate: UInt8 = 0
    /// When the count was loaded, in nanoseconds of the host's monotonic clock.
    public var countLoadTime: Int64 = 0

    /// All zero.
    public init() {}
  }

  /// The three counters.
  public var channels: [Channel] = Array(repeating: Channel(), count: 3)
  /// KVM's flags; 1 says that HPET's legacy mode holds the timer off.
  public var flags: UInt32 = 0

  /// All zero.
  public init() {}
}

extension PITState {
  init(_ state: kvm_pit_state2) {
    channels = [
      Channel(state.channels.0), Channel(state.channels.1), Channel(state.channels.2),
    ]
    flags = state.flags
  }

  /// The kernel's form.
  func kernelState() throws(KVMError) -> kvm_pit_state2 {
    guard channels.count == 3 else {
      throw .wrongSize(of: "the interval timer", expected: 3, found: channels.count)
    }
    var state = kvm_pit_state2()
    state.channels = (
      channels[0].kernelState, channels[1].kernelState, channels[2].kernelState
    )
    state.flags = flags
    return state
  }
}

extension PITState.Channel {
  init(_ state: kvm_pit_channel_state) {
    count = state.count
    latchedCount = state.latched_count
    countLatched = state.count_latched
    statusLatched = state.status_latched
    status = state.status
    readState = state.read_state
    writeState = state.write_state
    writeLatch = state.write_latch
    accessMode = state.rw_mode
    mode = state.mode
    bcd = state.bcd
    gate = state.gate
    countLoadTime = state.count_load_time
  }

  /// The kernel's form.
  var kernelState: kvm_pit_channel_state {
    var state = kvm_pit_channel_state()
    state.count = count
    state.latched_count = latchedCount
    state.count_latched = countLatched
    state.status_latched = statusLatched
    state.status = status
    state.read_state = readState
    state.write_state = writeState
    state.write_latch = writeLatch
    state.rw_mode = accessMode
    state.mode = mode
    state.bcd = bcd
    state.gate = gate
    state.count_load_time = countLoadTime
    return state
  }
}
