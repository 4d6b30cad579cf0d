// The few things a freestanding program has to bring along: text out, numbers in and out, and
// the functions that a compiler may call without being asked.
#include "guest.h"

void *memset(void *to, int value, __SIZE_TYPE__ count) {
    // volatile: the compiler must not turn this loop back into a call of memset.
    volatile unsigned char *bytes = to;
    while (count--) *bytes++ = (unsigned char)value;
    return to;
}

void *memcpy(void *to, const void *from, __SIZE_TYPE__ count) {
    volatile unsigned char *bytes = to;
    const unsigned char *source = from;
    while (count--) *bytes++ = *source++;
    return to;
}

// Long division by hand: a 32-bit machine has no instruction for it and we link no runtime.
uint64_t divide(uint64_t dividend, uint32_t divisor) {
    uint64_t quotient = 0, rest = 0;
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (dividend >> bit & 1);
        quotient <<= 1;
        if (rest >= divisor) {
            rest -= divisor;
            quotient |= 1;
        }
    }
    return quotient;
}

void print(const char *text) {
    for (; *text; text++) {
        if (*text == '\n') console_put('\r');
        console_put(*text);
    }
}

void print_number(uint64_t value) {
    char digits[21];
    int i = 20;
    digits[i] = 0;
    do {
        uint64_t rest = divide(value, 10);
        digits[--i] = (char)('0' + (value - rest * 10));
        value = rest;
    } while (value);
    print(digits + i);
}

void print_hex(uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4)
        console_put("0123456789abcdef"[value >> shift & 15]);
}

// The text behind "name=" on the command line, or null.
const char *parameter(const char *line, const char *name) {
    if (!line) return 0;
    while (*line) {
        while (*line == ' ') line++;
        const char *a = line, *b = name;
        while (*b && *a == *b) a++, b++;
        if (!*b && *a == '=') return a + 1;
        while (*line && *line != ' ') line++;
    }
    return 0;
}

uint32_t parameter_number(const char *line, const char *name, uint32_t otherwise) {
    const char *text = parameter(line, name);
    if (!text || *text < '0' || *text > '9') return otherwise;
    uint32_t value = 0;
    while (*text >= '0' && *text <= '9') value = value * 10 + (uint32_t)(*text++ - '0');
    return value;
}

// Takes whole pages of a stretch of memory, without what lies below the end of our image
// where the stretch holds it.
void add_region(struct machine *m, uint64_t base, uint64_t size) {
    uint64_t end = (base + size) & ~(uint64_t)(PAGE - 1);
    uint64_t ours = (uint64_t)(uintptr_t)image_end;
    if (base < ours && ours < end) base = ours;
    base = (base + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    if (base >= end || m->region_count == REGIONS) return;
    m->regions[m->region_count].base = (uintptr_t)base;
    m->regions[m->region_count].size = end - base;
    m->region_count++;
}
