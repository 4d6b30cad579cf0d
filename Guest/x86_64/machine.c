// The x86 machine (pc, q35, microvm, or anything with a PVH entry): memory map, serial port,
// clock and idling. Nothing but ports, the TSC and, where it is there, the local APIC; or, on a
// machine that emulates what a kernel does, user mode and a page of the machine's.
#include "../common/guest.h"

// The PVH boot protocol's hvm_start_info and its memory map.
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp, memory_map;
    uint32_t memory_map_entries, reserved;
};
struct memory_map_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};
enum { START_INFO_MAGIC = 0x336ec578, MEMORY_USABLE = 1 };

enum { COMMAND_LINE_LIMIT = 1024 };
static char command_line[COMMAND_LINE_LIMIT];

// The machine's page, where there is one and user mode needs it (the word page=ADDRESS): the
// serial port's registers from 0 on, and at 16 a word that takes microseconds to rest.
enum { PAGE_REST = 16, REST_MICROSECONDS = 1000, FIRST_SERIAL = 0x3f8, LAST_SERIAL = 0x3ff };
static volatile uint8_t *machine_page;

static int is_in_page(uint16_t port) {
    return machine_page && port >= FIRST_SERIAL && port <= LAST_SERIAL;
}
static inline void out8(uint16_t port, uint8_t value) {
    if (is_in_page(port))
        machine_page[port - FIRST_SERIAL] = value;
    else
        __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    if (is_in_page(port)) return machine_page[port - FIRST_SERIAL];
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#include "../common/isa.h"

// Clock

uint64_t clock_ticks(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

// The command line's word first: a machine without a PIT says tsc=TICKS_PER_MILLISECOND.
static uint32_t clock_speed(const char *command_line) {
    uint32_t told = parameter_number(command_line, "tsc", 0);
    uint32_t speed = told ? told : calibrate();
    return speed ? speed : 1000000;  // nobody knows: 1 GHz, and a second is somewhat longer
}

// Interrupts and idling

enum { APIC = 0xfee00000, TIMER_VECTOR = 64, SPURIOUS_VECTOR = 255 };
struct gate {
    uint16_t low, selector;
    uint8_t stack, type;
    uint16_t middle;
    uint32_t high, reserved;
};
static struct gate interrupts[256];
static int has_timer;
extern char timer_interrupt[], spurious_interrupt[], exception_stubs[];

static volatile uint32_t *apic(uint32_t offset) {
    return (volatile uint32_t *)(uintptr_t)(APIC + offset);
}

static void set_gate(int vector, const char *code) {
    uint64_t address = (uint64_t)code;
    interrupts[vector] = (struct gate){
        .low = (uint16_t)address,
        .selector = 8,
        .type = 0x8e,
        .middle = (uint16_t)(address >> 16),
        .high = (uint32_t)(address >> 32),
    };
}

static void interrupts_start(void) {
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {sizeof interrupts - 1, (uint64_t)interrupts};
    for (int vector = 0; vector < 32; vector++) set_gate(vector, exception_stubs + vector * 16);
    set_gate(TIMER_VECTOR, timer_interrupt);
    set_gate(SPURIOUS_VECTOR, spurious_interrupt);
    __asm__ volatile("lidt %0" ::"m"(table));
    out8(0x21, 0xff);  // the old interrupt controllers stay silent
    out8(0xa1, 0xff);
}

// Starts the local APIC's timer, every millisecond. Where there is none the guest spins.
static void timer_start(uint32_t ticks_per_millisecond) {
    uint32_t version = *apic(0x30);
    if (version == 0 || version == 0xffffffff) return;
    *apic(0xf0) = 0x100 | SPURIOUS_VECTOR;
    *apic(0x3e0) = 0xb;           // divide by one
    *apic(0x320) = 0x10000;       // masked, one shot
    *apic(0x380) = 0xffffffff;    // measure it against the TSC
    uint64_t began = clock_ticks();
    while (clock_ticks() - began < (uint64_t)ticks_per_millisecond * 10) {}
    uint32_t count = (0xffffffff - *apic(0x390)) / 10;
    if (count < 100) return;
    *apic(0x320) = 0x20000 | TIMER_VECTOR;  // periodic
    *apic(0x380) = count;
    has_timer = 1;
}

void idle(void) {
    // Between sti and hlt no interrupt is taken, so a tick in between still wakes us.
    if (has_timer)
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    else if (machine_page)
        *(volatile uint32_t *)(machine_page + PAGE_REST) = REST_MICROSECONDS;
    else
        __asm__ volatile("pause" ::: "memory");
}

void exception_report(uint64_t vector, uint64_t code, uint64_t address, uint64_t cr2) {
    print("\nMEMGUEST-FAILED exception "), print_number(vector);
    print(" code "), print_hex(code), print(" at "), print_hex(address);
    print(" cr2 "), print_hex(cr2), print("\n");
}

// Free pages

// The machine's registers for pages that nobody needs, where there are any (the word
// exclude=ADDRESS): what they are, then where a list of ranges lies and how many it has, and a
// command, whose result is read from the same place.
enum { EXCLUSION_MAGIC = 0x58574447, LIST = 0x10, COUNT = 0x18, COMMAND = 0x1c };
enum { DECLARE = 1, PAGES_PER_COMMAND = 16384 };
static volatile uint32_t *exclusion;
static struct {
    uint64_t first, count;
} range;

void tell_free(uintptr_t address, uint64_t pages) {
    if (!exclusion) return;
    for (uint64_t done = 0; done < pages; done += range.count) {
        uint64_t rest = pages - done;
        range.first = address / PAGE + done;
        range.count = rest < PAGES_PER_COMMAND ? rest : PAGES_PER_COMMAND;
        __asm__ volatile("" ::: "memory");
        exclusion[LIST / 4] = (uint32_t)(uint64_t)&range;
        exclusion[LIST / 4 + 1] = 0;
        exclusion[COUNT / 4] = 1;
        exclusion[COMMAND / 4] = DECLARE;
    }
}

static void exclusion_start(void) {
    uint32_t address = parameter_number(command_line, "exclude", 0);
    exclusion = (volatile uint32_t *)(uintptr_t)address;
    if (exclusion && *exclusion != EXCLUSION_MAGIC) exclusion = 0;
}

// User mode

void enter_user_mode(void);

// Where there is no hardware for guests, a kernel's instructions may be emulated one by one, at
// a thousandth of the speed of a user's. Nothing but emulation takes so long for so little.
static int is_emulated(void) {
    enum { TURNS = 64, TICKS_PER_TURN = 1000, TRIES = 8 };
    uint64_t best = ~0ull;
    for (int try = 0; try < TRIES; try++) {
        uint64_t began = clock_ticks();
        for (volatile int i = 0; i < TURNS; i++) {}
        uint64_t took = clock_ticks() - began;
        if (took < best) best = took;
    }
    return best > TURNS * TICKS_PER_TURN;
}

// Start

// Maps memory behind the first 4 GiB, which are mapped already.
static void map_up_to(uint64_t end) {
    enum { SHIFT = 21, USABLE = 0x87 };
    extern uint64_t directories[];
    for (uint64_t i = 4 * 512; i << SHIFT < end; i++) directories[i] = i << SHIFT | USABLE;
}

enum { MIB = 1 << 20 };
static const uint64_t mapped = 64ull << 30;
static struct machine machine = {.name = "x86_64"};

void machine_main(uint64_t start_info_address) {
    const struct start_info *info = (const struct start_info *)start_info_address;
    console_start();
    interrupts_start();
    if (info->magic != START_INFO_MAGIC) {
        print("MEMGUEST-FAILED no PVH start info\n");
        return;
    }
    const char *line = (const char *)info->command_line;
    for (int i = 0; line && i < COMMAND_LINE_LIMIT - 1 && line[i]; i++) command_line[i] = line[i];
    const struct memory_map_entry *entry = (const struct memory_map_entry *)info->memory_map;
    for (uint32_t i = 0; info->version && i < info->memory_map_entries; i++, entry++) {
        // The first MiB is full of firmware's leavings.
        int is_mapped = entry->address >= MIB && entry->address < mapped;
        if (entry->type != MEMORY_USABLE || !is_mapped) continue;
        uint64_t room = mapped - entry->address;
        uint64_t size = entry->size < room ? entry->size : room;
        map_up_to(entry->address + size);
        add_region(&machine, entry->address, size);
    }
    machine.command_line = command_line;
    exclusion_start();
    machine.ticks_per_millisecond = clock_speed(command_line);
    uint32_t page = parameter_number(command_line, "page", 0);
    if (page && is_emulated()) {
        machine_page = (volatile uint8_t *)(uintptr_t)page;
        enter_user_mode();
    } else {
        timer_start(machine.ticks_per_millisecond);
    }
    workload(&machine);
}
