// The big-endian MIPS machine (QEMU's malta): up to 256 MiB of memory as it stands in the
// unmapped segment, PC chips at their ISA ports, the processor's own counter as clock.
#include "../common/guest.h"

static inline volatile uint8_t *isa_port(uint16_t port) {
    return (volatile uint8_t *)(0xb8000000u + port);
}
static inline void out8(uint16_t port, uint8_t value) { *isa_port(port) = value; }
static inline uint8_t in8(uint16_t port) { return *isa_port(port); }

#include "../common/isa.h"

static inline uint32_t count(void) {
    uint32_t value;
    __asm__ volatile("mfc0 %0, $9" : "=r"(value));
    return value;
}

// The counter has 32 bits and goes round in half a minute; the workload looks every millisecond.
uint64_t clock_ticks(void) {
    static uint32_t last, rounds;
    uint32_t now = count();
    if (now < last) rounds++;
    last = now;
    return (uint64_t)rounds << 32 | now;
}

void idle(void) { __asm__ volatile("wait" ::: "memory"); }

extern const uint32_t exception_vector[], exception_vector_end[];

// The alarm is the PIT's: the processor's own does not ring after a move, because QEMU sends its
// register along and does not set the alarm anew.
static void interrupts_start(void) {
    volatile uint32_t *vector = (volatile uint32_t *)0x80000180;
    for (const uint32_t *from = exception_vector; from < exception_vector_end; from++)
        *vector++ = *from;
    out8(0x20, 0x11);  // interrupt controller: initialisation in four words
    out8(0x21, 0x20);
    out8(0x21, 0x04);
    out8(0x21, 0x01);
    out8(0x21, 0xfe);  // only the timer's line
    out8(PIT_COMMAND, 0x34);
    out8(PIT_COUNTER, (uint8_t)(PIT_HERTZ / 1000));
    out8(PIT_COUNTER, (uint8_t)(PIT_HERTZ / 1000 >> 8));
    // Status: the line of the interrupt controller, exceptions at their usual vectors, on.
    __asm__ volatile("mtc0 %0, $12; ehb" ::"r"(0x401));
}

_Noreturn void exception_report(uint32_t cause, uint32_t address) {
    print("\nMEMGUEST-FAILED exception "), print_number(cause >> 2 & 31);
    print(" at "), print_hex(address), print("\n");
    for (;;) {}
}

// No machine of this kind asks which pages are free.
void tell_free(uintptr_t address, uint64_t pages) {
    (void)address, (void)pages;
}

static struct machine machine = {.name = "mips"};

void machine_main(const char *const *arguments, uint32_t memory) {
    console_start();
    machine.command_line = arguments[1];
    machine.ticks_per_millisecond = calibrate();
    if (!machine.ticks_per_millisecond) machine.ticks_per_millisecond = 100000;
    interrupts_start();
    // The first MiB holds vectors and what the loader left.
    add_region(&machine, 0x80100000, memory - 0x100000);
    workload(&machine);
}
