// A guest that knows whether its memory survived a move.
//
// Every page carries its index and the generation that was last written to it, at both ends,
// and private incompressible filler between. A writer dirties pages at the asked rate; a
// checker goes round all pages, comparing them with a table of generations of its own, so that
// a lost page and a stale page both show. Once a second it reports
//   mem t=SECONDS written=PAGES checked=PAGES bad=PAGES gap=MILLISECONDS
// where gap is the longest pause between two turns of its loop since the last line, as the
// guest's own clock saw it. 'bad' must stay 0 for ever.
//
// Parameters (kernel command line): memory=MEGABYTES (0: all there is) rate=MEGABYTES_PER_SECOND
// pattern=seq|random fill=0|1 check=MEGABYTES_PER_SECOND (default: an eighth of the memory)
// report=MILLISECONDS (between two lines, default 1000) free=PERCENT (of the pages, which are told
// to the machine as free once they are filled, and then left alone) reuse=MEGABYTES_PER_SECOND (of
// which the free pages are filled anew and used like the others; once all are, they are free again).
#include "guest.h"

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t stamp(uint32_t page, uint32_t generation) {
    return ((uint64_t)page + 1) * 0x9e3779b97f4a7c15ull ^ generation * 0xc2b2ae3d27d4eb4full;
}

struct pool {
    struct machine *machine;
    uint32_t pages;  // in use: the first of them
    uint32_t kept;   // of them, those that are never free
    uint32_t all;
    uint32_t *generation;
    int filled;
};

static volatile uint64_t *page_words(const struct pool *p, uint32_t page) {
    uint64_t offset = (uint64_t)page * PAGE;
    const struct region *r = p->machine->regions;
    while (offset >= r->size) offset -= r++->size;
    return (volatile uint64_t *)(r->base + (uintptr_t)offset);
}

// Word i of a page's filler is start + i * step modulo 2^64: two instructions a word, so that
// an emulator fills gigabytes a second, and yet no page resembles another nor itself.
static uint64_t filler_start(uint32_t page) {
    uint64_t x = ((uint64_t)page + 0x51ed2701) * 0xff51afd7ed558ccdull;
    return (x ^ x >> 29) * 0xc4ceb9fe1a85ec53ull;
}
static uint64_t filler_step(uint64_t start) {
    return start * 0x9fb21c651e98df25ull | 0x4000000040000001ull;
}

static void fill_page(volatile uint64_t *words, uint32_t page) {
    uint64_t x = filler_start(page), step = filler_step(x);
    for (int i = 0; i < WORDS; i += 8) {
        words[i] = x;
        words[i + 1] = x += step;
        words[i + 2] = x += step;
        words[i + 3] = x += step;
        words[i + 4] = x += step;
        words[i + 5] = x += step;
        words[i + 6] = x += step;
        words[i + 7] = x += step;
        x += step;
    }
}

// The middle word belongs to the filler for ever: it shows a page that lost its inside.
static void write_page(const struct pool *p, uint32_t page) {
    volatile uint64_t *words = page_words(p, page);
    words[0] = words[WORDS - 1] = stamp(page, ++p->generation[page]);
    uint32_t somewhere = 1 + (uint32_t)(next_random() >> 33) % (WORDS - 2);
    if (p->filled && somewhere != WORDS / 2) words[somewhere] = next_random();
}

static int page_is_whole(const struct pool *p, uint32_t page) {
    volatile uint64_t *words = page_words(p, page);
    uint64_t want = stamp(page, p->generation[page]);
    if (words[0] != want || words[WORDS - 1] != want) return 0;
    if (!p->filled) return words[WORDS / 2] == 0;
    uint64_t start = filler_start(page);
    return words[WORDS / 2] == start + filler_step(start) * (WORDS / 2);
}

// Takes the pages and, off the front of the first region that is large enough, the table of
// their generations.
static void make_pool(struct pool *p, struct machine *m) {
    uint64_t limit = (uint64_t)parameter_number(m->command_line, "memory", 0) << 8;
    uint64_t available = 0;
    for (uint32_t i = 0; i < m->region_count; i++) available += m->regions[i].size / PAGE;
    uint64_t entries = limit && limit < available ? limit : available;
    uint64_t table = (entries * 4 + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    p->machine = m;
    p->filled = parameter_number(m->command_line, "fill", 1) != 0;
    for (uint32_t i = 0; i < m->region_count && !p->generation; i++) {
        struct region *r = &m->regions[i];
        if (r->size < table) continue;
        p->generation = (uint32_t *)r->base;
        r->base += (uintptr_t)table;
        r->size -= table;
        available -= table / PAGE;
    }
    if (!p->generation) {
        print("MEMGUEST-FAILED no memory region is large enough\n");
        for (;;) idle();
    }
    p->pages = p->all = (uint32_t)(limit && limit < available ? limit : available);
    uint32_t percent = parameter_number(m->command_line, "free", 0);
    if (percent > 100) percent = 100;
    p->kept = p->all - (uint32_t)divide((uint64_t)p->all * percent, 100);
    if (!p->kept) p->kept = 1;
    for (uint32_t page = 0; page < p->pages; page++) {
        p->generation[page] = 0;
        if (p->filled) fill_page(page_words(p, page), page);
        write_page(p, page);
    }
}

// Tells the machine that the pages from the first that is not kept to the last are free.
static void free_pages(struct pool *p) {
    p->pages = p->kept;
    for (uint32_t page = p->kept; page < p->all;) {
        // As many as lie in one piece of memory.
        uintptr_t start = (uintptr_t)page_words(p, page), end = start;
        for (; page < p->all && (uintptr_t)page_words(p, page) == end; page++) end += PAGE;
        tell_free(start, (end - start) / PAGE);
    }
}

// Fills the next free page anew, as if it had never held anything; it is not told to the machine,
// which has to notice the write. Behind the last one all are free again.
static void reuse_page(struct pool *p) {
    if (p->pages == p->all) return free_pages(p);
    uint32_t page = p->pages++;
    if (p->filled) fill_page(page_words(p, page), page);
    volatile uint64_t *words = page_words(p, page);
    if (!p->filled) words[WORDS / 2] = 0;
    write_page(p, page);
}

struct tally {
    uint64_t milliseconds, written, checked, bad, gap_ticks;
};

static void print_tenths(uint64_t tenths) {
    uint64_t whole = divide(tenths, 10);
    print_number(whole), print("."), print_number(tenths - whole * 10);
}

static void report(const struct tally *t, uint32_t ticks_per_millisecond) {
    uint64_t tenths = divide(t->milliseconds, 100);
    uint64_t gap = divide(t->gap_ticks * 10, ticks_per_millisecond);
    print("mem t="), print_tenths(tenths);
    print(" written="), print_number(t->written);
    print(" checked="), print_number(t->checked);
    print(" bad="), print_number(t->bad);
    print(" gap="), print_tenths(gap);
    print("\n");
}

// Work that comes due with time: so many pages a second, in whole pages, a quarter of a
// second's worth at most in arrears, so that a long pause is followed by no storm.
struct quota {
    uint32_t per_second, fraction, due;
};

static void accrue(struct quota *q) {
    q->fraction += q->per_second;
    q->due += q->fraction / 1000;
    q->fraction %= 1000;
    if (q->due > q->per_second / 4 + 1) q->due = q->per_second / 4 + 1;
}

static uint32_t take(struct quota *q, uint32_t most) {
    uint32_t count = q->due < most ? q->due : most;
    q->due -= count;
    return count;
}

_Noreturn void workload(struct machine *m) {
    static struct pool pool;
    const char *pattern = parameter(m->command_line, "pattern");
    int random = pattern && *pattern == 'r';
    print("guest machine="), print(m->name);
    print(" ticks_per_ms="), print_number(m->ticks_per_millisecond), print("\n");
    make_pool(&pool, m);
    struct quota writes = {parameter_number(m->command_line, "rate", 0) * 256, 0, 0};
    uint32_t check = parameter_number(m->command_line, "check", pool.pages / 8 / 256);
    struct quota checks = {check * 256, 0, 0};
    struct quota reuses = {parameter_number(m->command_line, "reuse", 0) * 256, 0, 0};
    uint32_t report_interval = parameter_number(m->command_line, "report", 1000);
    if (!checks.per_second) checks.per_second = pool.pages / 8 + 1;
    if (pool.kept < pool.all)
        free_pages(&pool);
    else
        reuses.per_second = 0;
    print("guest pages="), print_number(pool.pages), print("\nMEMGUEST-READY\n");

    struct tally tally = {0};
    uint32_t write_cursor = 0, check_cursor = 0, since_report = 0;
    uint64_t millisecond = clock_ticks(), last_turn = millisecond;
    for (;;) {
        uint64_t now = clock_ticks();
        if (now < last_turn) millisecond = last_turn = now;  // moved to a host that began later
        if (now - last_turn > tally.gap_ticks) tally.gap_ticks = now - last_turn;
        last_turn = now;
        while (now - millisecond >= m->ticks_per_millisecond) {
            millisecond += m->ticks_per_millisecond;
            tally.milliseconds++, since_report++;
            accrue(&writes), accrue(&checks), accrue(&reuses);
        }
        for (uint32_t n = take(&writes, 64); n; n--, tally.written++) {
            uint32_t page = write_cursor;
            if (random)
                page = (uint32_t)((next_random() >> 32) * pool.pages >> 32);
            else if (++write_cursor >= pool.pages)
                write_cursor = 0;
            if (page >= pool.pages) page = 0;  // free since
            write_page(&pool, page);
        }
        for (uint32_t n = take(&checks, 64); n; n--, tally.checked++) {
            if (check_cursor >= pool.pages) check_cursor = 0;
            if (!page_is_whole(&pool, check_cursor)) tally.bad++;
            check_cursor++;
        }
        for (uint32_t n = take(&reuses, 64); n; n--) reuse_page(&pool);
        if (since_report >= report_interval) {
            report(&tally, m->ticks_per_millisecond);
            since_report = 0, tally.gap_ticks = 0;
        }
        if (!writes.due && !checks.due && !reuses.due) idle();
    }
}
