// The two chips that a PC and its imitators share: the 16550 serial port and the 8254 timer.
// A machine that includes this says first how a port is written and read (out8, in8).
#pragma once
#include "guest.h"

// Serial port

enum { SERIAL = 0x3f8, LINE_STATUS = SERIAL + 5, TRANSMITTER_EMPTY = 0x20 };

void console_put(char c) {
    // Bounded: a machine whose port says nothing must not hang its guest.
    for (int i = 0; i < 100000 && !(in8(LINE_STATUS) & TRANSMITTER_EMPTY); i++) {}
    out8(SERIAL, (uint8_t)c);
}

static void console_start(void) {
    out8(SERIAL + 1, 0);     // no interrupts
    out8(SERIAL + 3, 0x80);  // divisor: 115200 baud
    out8(SERIAL + 0, 1);
    out8(SERIAL + 1, 0);
    out8(SERIAL + 3, 3);  // 8 bits, no parity, one stop bit
    out8(SERIAL + 2, 7);  // FIFOs on and empty
    out8(SERIAL + 4, 3);  // ready
}

// The processor's clock measured against the timer

enum { PIT_HERTZ = 1193182, PIT_COUNTER = 0x40, PIT_COMMAND = 0x43, ROUNDS = 4 };

static uint16_t pit_read(void) {
    out8(PIT_COMMAND, 0x00);  // latch counter 0
    uint16_t low = in8(PIT_COUNTER);
    return (uint16_t)(low | in8(PIT_COUNTER) << 8);
}

// Ticks of the clock per millisecond, over about 16 ms of the PIT; 0 where no PIT counts.
static uint32_t calibrate_once(void) {
    const uint32_t span = PIT_HERTZ / 64;
    uint32_t elapsed = 0, polls = 0;
    uint16_t last = pit_read();
    uint64_t began = clock_ticks(), now;
    do {
        uint16_t count = pit_read();
        now = clock_ticks();
        elapsed += (uint16_t)(last - count);
        last = count;
        if (++polls > 1000000 || (polls > 10000 && !elapsed)) return 0;
    } while (elapsed < span);
    return (uint32_t)divide((now - began) * (PIT_HERTZ / 1000), elapsed);
}

// A pause of ours between two looks at the PIT loses its wrap and makes the clock look faster
// than it is, so the smallest of several answers is the best one.
static uint32_t calibrate(void) {
    uint32_t best = 0;
    out8(PIT_COMMAND, 0x34);  // counter 0, low then high byte, rate generator
    out8(PIT_COUNTER, 0);
    out8(PIT_COUNTER, 0);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t found = calibrate_once();
        if (found && (!best || found < best)) best = found;
    }
    return best;
}
