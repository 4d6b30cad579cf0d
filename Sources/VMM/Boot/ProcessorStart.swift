// The state in which the first processor of a machine begins.

public import GuestMemory

/// The state in which a machine's first processor begins; the others wait to be woken.
public enum ProcessorStart: Sendable, Equatable {
  /// The processor's own state after a reset.
  case resetVector
  /// 32-bit protected mode without paging, flat segments, EBX as given (the PVH entry).
  case protected(entry: GuestAddress, ebx: GuestAddress)
  /// 64-bit mode, flat segments, interrupts off, with the tables given; RSI as given (the 64-bit
  /// entry of Linux).
  case long(
    entry: GuestAddress, rsi: GuestAddress, pageTable: GuestAddress, descriptorTable: GuestAddress)
}
