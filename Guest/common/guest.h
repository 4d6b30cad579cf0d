// What the workload needs from a machine, and what a machine's start-up code needs from the
// workload. One file per architecture fills it in (x86/machine.c, aarch64/…, mips/…).
#pragma once
#include <stdint.h>

enum { PAGE = 4096, WORDS = PAGE / 8, REGIONS = 8 };

// A stretch of memory that the workload may use, as addresses that code can dereference.
struct region {
    uintptr_t base;
    uint64_t size;
};

// The machine as its start-up code found it.
struct machine {
    const char *name;
    const char *command_line;
    uint32_t ticks_per_millisecond;
    uint32_t region_count;
    struct region regions[REGIONS];
};

// Provided by each machine.
void console_put(char c);
uint64_t clock_ticks(void);  // never goes back; wraps at 2^64 only
void idle(void);             // gives the processor away until the next tick, about 1 ms
// Tells the machine that whole pages are not needed until they are written again; does nothing
// where the machine has no use for that.
void tell_free(uintptr_t address, uint64_t pages);

// Provided by the common files.
extern char image_end[];  // from the linker script: nothing of ours lies at or behind it
void add_region(struct machine *m, uint64_t base, uint64_t size);
const char *parameter(const char *line, const char *name);
uint32_t parameter_number(const char *line, const char *name, uint32_t otherwise);
uint64_t divide(uint64_t dividend, uint32_t divisor);
void print(const char *text);
void print_number(uint64_t value);
void print_hex(uint64_t value);
_Noreturn void workload(struct machine *m);
