// The memory that a vCPU shares with the kernel: the run page and the data of port accesses.

import CLinux

/// A vCPU's mapping.
///
/// The kernel writes it only while the vCPU runs, and one thread runs a vCPU; `immediate_exit`
/// alone is written by others, atomically.
@safe final class RunMapping: Sendable {
  private let address: UInt
  private let byteCount: Int

  init(descriptor: Int32, byteCount: Int) throws(KVMError) {
    switch KernelCall.map(descriptor, byteCount: byteCount, offset: 0) {
    case .success(let address): self.address = address
    case .failure(let failure):
      throw .failed(action: "Mapping a vCPU's run page", code: failure.code)
    }
    self.byteCount = byteCount
  }

  deinit {
    KernelCall.unmap(address, byteCount: byteCount)
  }

  private var page: UnsafeMutableRawPointer {
    // SAFETY: the mapping is not at address 0 and lives as long as this object.
    unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped
  }

  func setImmediateExit(_ isSet: Bool) {
    // SAFETY: one atomic byte within the mapping.
    unsafe godwit_run_set_immediate_exit(page, isSet ? 1 : 0)
  }

  func setMMIOValue(_ value: UInt64) {
    // SAFETY: eight bytes of the run page.
    unsafe godwit_run_set_mmio_data(page, value)
  }

  func setMSRValue(_ value: UInt64?) {
    // SAFETY: fields of the run page.
    unsafe godwit_run_set_msr(page, value ?? 0, value == nil ? 1 : 0)
  }

  /// A value of a port access; 0 beyond what it moves.
  func portValue(_ access: VCPUExit.PortAccess, at index: Int) -> UInt32 {
    let offset = access.dataOffset + index * access.byteCount
    guard index >= 0, index < access.count, offset >= 0,
      offset + access.byteCount <= byteCount
    else { return 0 }
    // SAFETY: the guard keeps the access inside the mapping.
    return switch access.byteCount {
    case 1: UInt32(unsafe page.load(fromByteOffset: offset, as: UInt8.self))
    case 2: UInt32(unsafe page.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    case 4: unsafe page.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
    default: 0
    }
  }

  /// Answers one value of a port read; nothing beyond what it moves.
  func setPortValue(_ value: UInt32, for access: VCPUExit.PortAccess, at index: Int) {
    let offset = access.dataOffset + index * access.byteCount
    guard index >= 0, index < access.count, offset >= 0,
      offset + access.byteCount <= byteCount
    else { return }
    // SAFETY: the guard keeps the access inside the mapping.
    switch access.byteCount {
    case 1:
      unsafe page.storeBytes(
        of: UInt8(truncatingIfNeeded: value), toByteOffset: offset, as: UInt8.self)
    case 2:
      unsafe page.storeBytes(
        of: UInt16(truncatingIfNeeded: value), toByteOffset: offset, as: UInt16.self)
    case 4: unsafe page.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
    default: break
    }
  }

  /// What the kernel says about the exit that has just been.
  func exit() -> VCPUExit {
    // SAFETY: fields of the run page, read after KVM_RUN returned on this thread.
    let page = unsafe UnsafeRawPointer(page)
    let reason = unsafe godwit_run_exit_reason(page)
    switch Int32(bitPattern: reason) {
    case KVM_EXIT_IO: return unsafe portExit(page)
    case KVM_EXIT_MMIO: return unsafe mmioExit(page)
    case KVM_EXIT_HLT: return .halted
    case KVM_EXIT_SHUTDOWN: return .shutdown
    case KVM_EXIT_INTR: return .interrupted
    case KVM_EXIT_IRQ_WINDOW_OPEN: return .interruptWindowOpen
    case KVM_EXIT_DIRTY_RING_FULL: return .dirtyRingFull
    default: return unsafe rareExit(page, reason: reason)
    }
  }

  private func portExit(_ page: UnsafeRawPointer) -> VCPUExit {
    // SAFETY: as in `exit`.
    let access = unsafe VCPUExit.PortAccess(
      port: godwit_run_io_port(page), byteCount: Int(godwit_run_io_size(page)),
      count: Int(godwit_run_io_count(page)),
      dataOffset: Int(truncatingIfNeeded: godwit_run_io_data_offset(page)))
    let isOutput = unsafe Int32(godwit_run_io_direction(page)) == KVM_EXIT_IO_OUT
    return isOutput ? .portOutput(access) : .portInput(access)
  }

  private func mmioExit(_ page: UnsafeRawPointer) -> VCPUExit {
    // SAFETY: as in `exit`.
    let address = unsafe godwit_run_mmio_address(page)
    let byteCount = unsafe min(8, Int(godwit_run_mmio_length(page)))
    guard unsafe godwit_run_mmio_is_write(page) != 0 else {
      return .mmioRead(address: address, byteCount: byteCount)
    }
    let mask = byteCount == 8 ? UInt64.max : (1 << (8 * UInt64(byteCount))) - 1
    return unsafe .mmioWrite(
      address: address, byteCount: byteCount, value: godwit_run_mmio_data(page) & mask)
  }

  private func rareExit(_ page: UnsafeRawPointer, reason: UInt32) -> VCPUExit {
    // SAFETY: as in `exit`.
    switch Int32(bitPattern: reason) {
    case KVM_EXIT_X86_RDMSR:
      return unsafe .msrRead(index: godwit_run_msr_index(page), reason: godwit_run_msr_reason(page))
    case KVM_EXIT_X86_WRMSR:
      return unsafe .msrWrite(
        index: godwit_run_msr_index(page), reason: godwit_run_msr_reason(page),
        value: godwit_run_msr_data(page))
    case KVM_EXIT_IOAPIC_EOI: return unsafe .endOfInterrupt(vector: godwit_run_eoi_vector(page))
    case KVM_EXIT_SYSTEM_EVENT:
      return unsafe .systemEvent(
        type: godwit_run_system_event_type(page), flags: godwit_run_system_event_flags(page))
    case KVM_EXIT_HYPERCALL: return unsafe .hypercall(number: godwit_run_hypercall_number(page))
    case GODWIT_KVM_EXIT_MEMORY_FAULT:
      return unsafe .memoryFault(
        flags: godwit_run_payload(page, 0), address: godwit_run_payload(page, 1),
        byteCount: godwit_run_payload(page, 2))
    case KVM_EXIT_NMI: return .nmi
    case KVM_EXIT_DEBUG: return .debug
    case KVM_EXIT_X86_BUS_LOCK: return .busLock
    case KVM_EXIT_NOTIFY: return .notify
    case KVM_EXIT_EXCEPTION:
      return unsafe .exception(
        number: godwit_run_exception_number(page), code: godwit_run_exception_code(page))
    case KVM_EXIT_FAIL_ENTRY:
      return unsafe .failedEntry(
        reason: godwit_run_failed_entry_reason(page), processor: godwit_run_failed_entry_cpu(page))
    case KVM_EXIT_INTERNAL_ERROR:
      let count = unsafe min(16, godwit_run_internal_count(page))
      let data = (0..<count).map { unsafe godwit_run_internal_data(page, $0) }
      return unsafe .internalError(suberror: godwit_run_internal_suberror(page), data: data)
    case KVM_EXIT_UNKNOWN:
      return unsafe .unknown(hardwareReason: godwit_run_hardware_reason(page))
    default: return .other(reason: reason)
    }
  }
}
