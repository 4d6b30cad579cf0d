// The aarch64 machine (QEMU's virt, GICv2): memory and command line from the device tree at the
// start of RAM, PL011 serial port, the generic timer as clock and alarm. The MMU stays off.
#include "../common/guest.h"

enum { UART = 0x09000000, UART_FLAGS = UART + 0x18, UART_FULL = 1 << 5 };
enum { GIC_DISTRIBUTOR = 0x08000000, GIC_CPU = 0x08010000, TIMER_INTERRUPT = 27 };
enum { DEVICE_TREE = 0x40000000 };

static inline void store32(uintptr_t address, uint32_t value) {
    *(volatile uint32_t *)address = value;
}
static inline uint32_t load32(uintptr_t address) { return *(volatile uint32_t *)address; }

void console_put(char c) {
    for (int i = 0; i < 100000 && load32(UART_FLAGS) & UART_FULL; i++) {}
    store32(UART, (uint8_t)c);
}

uint64_t clock_ticks(void) {
    uint64_t value;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(value)::"memory");
    return value;
}

// Sleeps for one tick from now. The alarm wakes the processor although it is masked there, so no
// interrupt is ever taken.
static uint64_t tick_period;
void idle(void) {
    __asm__ volatile("msr cntv_tval_el0, %0; isb; wfi" ::"r"(tick_period) : "memory");
}

static void timer_start(void) {
    store32(GIC_DISTRIBUTOR, 1);
    store32(GIC_DISTRIBUTOR + 0x100, 1u << TIMER_INTERRUPT);
    store32(GIC_CPU + 4, 0xff);  // any priority
    store32(GIC_CPU, 1);
    __asm__ volatile("msr cntv_ctl_el0, %0; isb" ::"r"(1ull));
}

void exception_report(uint64_t syndrome, uint64_t address, uint64_t fault) {
    print("\nMEMGUEST-FAILED exception "), print_hex(syndrome);
    print(" at "), print_hex(address), print(" for "), print_hex(fault), print("\n");
}

// Device tree: big-endian words, read byte by byte because nothing promises their alignment.
static uint32_t tree_word(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static uint64_t tree_long(const uint8_t *p) {
    return (uint64_t)tree_word(p) << 32 | tree_word(p + 4);
}

static int starts_with(const char *text, const char *start) {
    while (*start && *text == *start) text++, start++;
    return !*start;
}

// No machine of this kind asks which pages are free.
void tell_free(uintptr_t address, uint64_t pages) {
    (void)address, (void)pages;
}

static struct machine machine = {.name = "aarch64"};

// Finds /chosen's bootargs and the memory nodes' reg (two cells of address, two of size).
static int read_tree(const uint8_t *tree) {
    if (tree_word(tree) != 0xd00dfeed) return 0;
    const uint8_t *p = tree + tree_word(tree + 8);
    const char *strings = (const char *)tree + tree_word(tree + 12);
    int in_memory = 0;
    for (;;) {
        uint32_t token = tree_word(p);
        p += 4;
        if (token == 1) {  // a node begins
            in_memory = starts_with((const char *)p, "memory@");
            while (*p) p++;
            p = (const uint8_t *)(((uintptr_t)p + 4) & ~(uintptr_t)3);
        } else if (token == 2) {  // a node ends
            in_memory = 0;
        } else if (token == 3) {  // a property
            uint32_t length = tree_word(p);
            const char *name = strings + tree_word(p + 4);
            p += 8;
            if (starts_with(name, "bootargs")) machine.command_line = (const char *)p;
            if (in_memory && starts_with(name, "reg"))
                for (uint32_t i = 0; i + 16 <= length; i += 16)
                    add_region(&machine, tree_long(p + i), tree_long(p + i + 8));
            p += (length + 3) & ~3u;
        } else if (token != 4) {  // anything but padding ends it
            return machine.region_count != 0;
        }
    }
}

void machine_main(void) {
    uint64_t hertz;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hertz));
    machine.ticks_per_millisecond = (uint32_t)(hertz / 1000);
    tick_period = machine.ticks_per_millisecond;
    timer_start();
    if (!read_tree((const uint8_t *)DEVICE_TREE)) {
        print("MEMGUEST-FAILED no device tree\n");
        return;
    }
    workload(&machine);
}
