// KVM's requests, structures and the fields of the run page, for Swift, which sees neither
// function-like macros nor anonymous unions well. Functions return their result or -errno.
#ifndef GODWIT_KVM_H
#define GODWIT_KVM_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <sys/ioctl.h>

// Numbers of the KVM API that headers older than the kernel lack; they are ABI and never change.
#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif
#ifndef KVM_EXIT_NOTIFY
#define KVM_EXIT_NOTIFY 37
#endif
#define GODWIT_KVM_EXIT_MEMORY_FAULT 39

/// One request to a descriptor; its result or -errno, interrupted calls made again.
static inline long godwit_ioctl(int descriptor, unsigned long request, uintptr_t argument) {
  for (;;) {
    long result = ioctl(descriptor, request, argument);
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

/// One request, an interruption reported as -EINTR: for KVM_RUN, which signals end on purpose.
static inline long godwit_ioctl_once(int descriptor, unsigned long request, uintptr_t argument) {
  long result = ioctl(descriptor, request, argument);
  return result < 0 ? -errno : result;
}

#define GODWIT_REQUEST(name) static const unsigned long GODWIT_##name = name
GODWIT_REQUEST(KVM_GET_API_VERSION);
GODWIT_REQUEST(KVM_CREATE_VM);
GODWIT_REQUEST(KVM_CHECK_EXTENSION);
GODWIT_REQUEST(KVM_GET_VCPU_MMAP_SIZE);
GODWIT_REQUEST(KVM_GET_SUPPORTED_CPUID);
GODWIT_REQUEST(KVM_GET_MSR_INDEX_LIST);
GODWIT_REQUEST(KVM_CREATE_VCPU);
GODWIT_REQUEST(KVM_SET_USER_MEMORY_REGION);
GODWIT_REQUEST(KVM_SET_TSS_ADDR);
GODWIT_REQUEST(KVM_SET_IDENTITY_MAP_ADDR);
GODWIT_REQUEST(KVM_CREATE_IRQCHIP);
GODWIT_REQUEST(KVM_IRQ_LINE);
GODWIT_REQUEST(KVM_GET_IRQCHIP);
GODWIT_REQUEST(KVM_SET_IRQCHIP);
GODWIT_REQUEST(KVM_CREATE_PIT2);
GODWIT_REQUEST(KVM_GET_PIT2);
GODWIT_REQUEST(KVM_SET_PIT2);
GODWIT_REQUEST(KVM_GET_CLOCK);
GODWIT_REQUEST(KVM_SET_CLOCK);
GODWIT_REQUEST(KVM_ENABLE_CAP);
GODWIT_REQUEST(KVM_IOEVENTFD);
GODWIT_REQUEST(KVM_IRQFD);
GODWIT_REQUEST(KVM_SIGNAL_MSI);
GODWIT_REQUEST(KVM_GET_DIRTY_LOG);
GODWIT_REQUEST(KVM_CLEAR_DIRTY_LOG);
GODWIT_REQUEST(KVM_RESET_DIRTY_RINGS);
GODWIT_REQUEST(KVM_RUN);
GODWIT_REQUEST(KVM_GET_REGS);
GODWIT_REQUEST(KVM_SET_REGS);
GODWIT_REQUEST(KVM_GET_SREGS);
GODWIT_REQUEST(KVM_SET_SREGS);
GODWIT_REQUEST(KVM_GET_SREGS2);
GODWIT_REQUEST(KVM_SET_SREGS2);
GODWIT_REQUEST(KVM_GET_FPU);
GODWIT_REQUEST(KVM_SET_FPU);
GODWIT_REQUEST(KVM_GET_XSAVE);
GODWIT_REQUEST(KVM_GET_XSAVE2);
GODWIT_REQUEST(KVM_SET_XSAVE);
GODWIT_REQUEST(KVM_GET_XCRS);
GODWIT_REQUEST(KVM_SET_XCRS);
GODWIT_REQUEST(KVM_GET_MSRS);
GODWIT_REQUEST(KVM_SET_MSRS);
GODWIT_REQUEST(KVM_GET_LAPIC);
GODWIT_REQUEST(KVM_SET_LAPIC);
GODWIT_REQUEST(KVM_GET_VCPU_EVENTS);
GODWIT_REQUEST(KVM_SET_VCPU_EVENTS);
GODWIT_REQUEST(KVM_GET_MP_STATE);
GODWIT_REQUEST(KVM_SET_MP_STATE);
GODWIT_REQUEST(KVM_GET_DEBUGREGS);
GODWIT_REQUEST(KVM_SET_DEBUGREGS);
GODWIT_REQUEST(KVM_GET_CPUID2);
GODWIT_REQUEST(KVM_SET_CPUID2);
GODWIT_REQUEST(KVM_GET_TSC_KHZ);
GODWIT_REQUEST(KVM_SET_TSC_KHZ);
GODWIT_REQUEST(KVM_KVMCLOCK_CTRL);
#undef GODWIT_REQUEST

// Structures of the interface that hold unions or bit fields, laid out without them, so that Swift
// can copy them as plain values.

/// `struct kvm_irq_level`.
struct godwit_irq_level {
  uint32_t line;
  uint32_t level;
};
_Static_assert(sizeof(struct godwit_irq_level) == sizeof(struct kvm_irq_level), "kvm_irq_level");

/// `struct kvm_irqchip` of a PIC.
struct godwit_irqchip_pic {
  uint32_t chip_id;
  uint32_t pad;
  struct kvm_pic_state state;
  uint8_t rest[512 - sizeof(struct kvm_pic_state)];
};
_Static_assert(sizeof(struct godwit_irqchip_pic) == sizeof(struct kvm_irqchip), "kvm_irqchip");

/// `struct kvm_ioapic_state`, each redirection entry as one number.
struct godwit_ioapic_state {
  uint64_t base_address;
  uint32_t ioregsel;
  uint32_t id;
  uint32_t irr;
  uint32_t pad;
  uint64_t redirtbl[KVM_IOAPIC_NUM_PINS];
};
_Static_assert(sizeof(struct godwit_ioapic_state) == sizeof(struct kvm_ioapic_state),
               "kvm_ioapic_state");

/// `struct kvm_irqchip` of the I/O APIC.
struct godwit_irqchip_ioapic {
  uint32_t chip_id;
  uint32_t pad;
  struct godwit_ioapic_state state;
  uint8_t rest[512 - sizeof(struct godwit_ioapic_state)];
};
_Static_assert(sizeof(struct godwit_irqchip_ioapic) == sizeof(struct kvm_irqchip), "kvm_irqchip");

/// `struct kvm_dirty_log`, the bitmap's address as a number.
struct godwit_dirty_log {
  uint32_t slot;
  uint32_t pad;
  uint64_t bitmap;
};
_Static_assert(sizeof(struct godwit_dirty_log) == sizeof(struct kvm_dirty_log), "kvm_dirty_log");

/// `struct kvm_clear_dirty_log`, the bitmap's address as a number.
struct godwit_clear_dirty_log {
  uint32_t slot;
  uint32_t num_pages;
  uint64_t first_page;
  uint64_t bitmap;
};
_Static_assert(sizeof(struct godwit_clear_dirty_log) == sizeof(struct kvm_clear_dirty_log),
               "kvm_clear_dirty_log");

/// Pages of the vCPU's mapping before its dirty ring.
static const long godwit_dirty_ring_page_offset = KVM_DIRTY_LOG_PAGE_OFFSET;

// Fields of the run page. The kernel writes it only while KVM_RUN is under way.
#define GODWIT_RUN_FIELD(type, name, expression) \
  static inline type godwit_run_##name(const void *page) { \
    const struct kvm_run *run = (const struct kvm_run *)page; \
    return (type)(run->expression); \
  }
GODWIT_RUN_FIELD(uint32_t, exit_reason, exit_reason)
GODWIT_RUN_FIELD(uint64_t, hardware_reason, hw.hardware_exit_reason)
GODWIT_RUN_FIELD(uint64_t, failed_entry_reason, fail_entry.hardware_entry_failure_reason)
GODWIT_RUN_FIELD(uint32_t, failed_entry_cpu, fail_entry.cpu)
GODWIT_RUN_FIELD(uint32_t, exception_number, ex.exception)
GODWIT_RUN_FIELD(uint32_t, exception_code, ex.error_code)
GODWIT_RUN_FIELD(uint8_t, io_direction, io.direction)
GODWIT_RUN_FIELD(uint8_t, io_size, io.size)
GODWIT_RUN_FIELD(uint16_t, io_port, io.port)
GODWIT_RUN_FIELD(uint32_t, io_count, io.count)
GODWIT_RUN_FIELD(uint64_t, io_data_offset, io.data_offset)
GODWIT_RUN_FIELD(uint64_t, mmio_address, mmio.phys_addr)
GODWIT_RUN_FIELD(uint32_t, mmio_length, mmio.len)
GODWIT_RUN_FIELD(uint8_t, mmio_is_write, mmio.is_write)
GODWIT_RUN_FIELD(uint64_t, hypercall_number, hypercall.nr)
GODWIT_RUN_FIELD(uint32_t, internal_suberror, internal.suberror)
GODWIT_RUN_FIELD(uint32_t, internal_count, internal.ndata)
GODWIT_RUN_FIELD(uint32_t, system_event_type, system_event.type)
GODWIT_RUN_FIELD(uint64_t, system_event_flags, system_event.flags)
GODWIT_RUN_FIELD(uint8_t, eoi_vector, eoi.vector)
GODWIT_RUN_FIELD(uint32_t, msr_index, msr.index)
GODWIT_RUN_FIELD(uint32_t, msr_reason, msr.reason)
GODWIT_RUN_FIELD(uint64_t, msr_data, msr.data)
#undef GODWIT_RUN_FIELD

/// The eight data bytes of an MMIO exit as one little-endian number.
static inline uint64_t godwit_run_mmio_data(const void *page) {
  uint64_t value;
  __builtin_memcpy(&value, ((const struct kvm_run *)page)->mmio.data, sizeof value);
  return value;
}

/// Answers an MMIO read.
static inline void godwit_run_set_mmio_data(void *page, uint64_t value) {
  __builtin_memcpy(((struct kvm_run *)page)->mmio.data, &value, sizeof value);
}

/// Answers a read of a model-specific register; `error` raises #GP in the guest.
static inline void godwit_run_set_msr(void *page, uint64_t data, uint8_t error) {
  ((struct kvm_run *)page)->msr.data = data;
  ((struct kvm_run *)page)->msr.error = error;
}

/// One of the (at most 16) words of an internal error.
static inline uint64_t godwit_run_internal_data(const void *page, uint32_t index) {
  return index < 16 ? ((const struct kvm_run *)page)->internal.data[index] : 0;
}

/// A word of the exit's payload, whose type is younger than the headers; index below 32.
static inline uint64_t godwit_run_payload(const void *page, uint32_t index) {
  uint64_t value = 0;
  const char *payload = (const char *)&((const struct kvm_run *)page)->hw;
  if (index < 32) __builtin_memcpy(&value, payload + 8 * index, sizeof value);
  return value;
}

/// Has the present or next KVM_RUN return -EINTR before the guest runs. Any thread may do so.
static inline void godwit_run_set_immediate_exit(void *page, uint8_t value) {
  __atomic_store_n(&((struct kvm_run *)page)->immediate_exit, value, __ATOMIC_SEQ_CST);
}

/// An entry's flags, read before its other fields (the kernel publishes them last).
static inline uint32_t godwit_dirty_gfn_flags(const void *entry) {
  return __atomic_load_n(&((const struct kvm_dirty_gfn *)entry)->flags, __ATOMIC_ACQUIRE);
}

/// Says that an entry was collected.
static inline void godwit_dirty_gfn_collect(void *entry) {
  __atomic_store_n(&((struct kvm_dirty_gfn *)entry)->flags, KVM_DIRTY_GFN_F_RESET,
                   __ATOMIC_RELEASE);
}

/// Installs the handler of the signal that ends KVM_RUN (it does nothing; that it is delivered is
/// what ends the call). 0 or -errno. May be called again.
int godwit_kvm_install_kick(void);

/// Sends that signal to a thread of this process; 0 or -errno (-ESRCH: it has ended).
int godwit_kvm_kick(int thread);

/// The calling thread's number in the kernel; from the first call on, the thread takes kicks.
int godwit_kvm_thread(void);

#endif
