// Why a vCPU stopped running.

/// Why ``KVMVCPU/run()`` returned.
public enum VCPUExit: Equatable, Sendable {
  /// The guest writes to a port; ``KVMVCPU/portValue(_:at:)`` has what.
  case portOutput(PortAccess)
  /// The guest reads a port; ``KVMVCPU/setPortValue(_:for:at:)`` answers, the next run delivers.
  case portInput(PortAccess)
  /// The guest writes 1, 2, 4 or 8 bytes to an address outside all slots, or to read-only memory.
  case mmioWrite(address: UInt64, byteCount: Int, value: UInt64)
  /// The guest reads such an address; ``KVMVCPU/setMMIOValue(_:)`` answers, the next run delivers.
  case mmioRead(address: UInt64, byteCount: Int)
  /// The guest waits for an interrupt, and no interrupt controller in the kernel waits for it.
  case halted
  /// The guest is beyond rescue (a triple fault), which a PC answers by a reset.
  case shutdown
  /// A kick or another signal ended the run; the immediate exit is taken back.
  case interrupted
  /// An interrupt may be injected now, as was asked for.
  case interruptWindowOpen
  /// The dirty ring has no room; the guest cannot go on until it was collected and reset.
  case dirtyRingFull
  /// The guest reads a model-specific register that exits; ``KVMVCPU/setMSRValue(_:)`` answers.
  case msrRead(index: UInt32, reason: UInt32)
  /// The guest writes such a register.
  case msrWrite(index: UInt32, reason: UInt32, value: UInt64)
  /// An interrupt that exits on its end was ended.
  case endOfInterrupt(vector: UInt8)
  /// The guest asked for a reset or a power-off by other means.
  case systemEvent(type: UInt32, flags: UInt64)
  /// The guest made a hypercall that KVM does not answer itself.
  case hypercall(number: UInt64)
  /// An access to memory that the host could not give.
  case memoryFault(flags: UInt64, address: UInt64, byteCount: UInt64)
  /// A non-maskable interrupt of the host.
  case nmi
  /// The guest stopped at a breakpoint.
  case debug
  /// The guest locks the bus.
  case busLock
  /// The guest ran without a chance to interrupt it for longer than allowed.
  case notify
  /// An exception that KVM did not deliver.
  case exception(number: UInt32, code: UInt32)
  /// The hardware refused to run the guest's state.
  case failedEntry(reason: UInt64, processor: UInt32)
  /// KVM failed; 1 means an instruction that it could not emulate.
  case internalError(suberror: UInt32, data: [UInt64])
  /// The hardware stopped for a reason that KVM does not know.
  case unknown(hardwareReason: UInt64)
  /// A reason that Godwit does not know.
  case other(reason: UInt32)

  /// A guest's access to an I/O port.
  public struct PortAccess: Equatable, Sendable {
    /// The port.
    public var port: UInt16
    /// Size of each value: 1, 2 or 4 bytes.
    public var byteCount: Int
    /// How many values a string instruction moves (KVM keeps them within a page); 1 for others.
    public var count: Int
    /// Where the values are in the vCPU's mapping.
    var dataOffset: Int

    init(port: UInt16, byteCount: Int, count: Int, dataOffset: Int) {
      self.port = port
      self.byteCount = byteCount
      self.count = count
      self.dataOffset = dataOffset
    }
  }
}
