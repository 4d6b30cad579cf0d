// Eight words at a time: one load, and a test that skips them where nothing is dirty, which is the
// usual case. The compiler makes a version of each loop for each kind of processor and the loader
// picks one.
#include "DirtyBitmap.h"

#include <string.h>

#if defined(__x86_64__) && defined(__ELF__)
#define VECTORISED __attribute__((target_clones("avx512vpopcntdq", "avx2", "popcnt", "default")))
#else
#define VECTORISED
#endif

enum { LANES = 8 };
typedef uint64_t block __attribute__((vector_size(64)));

// Unaligned loads and stores of a block; macros, because a function that takes or returns a vector
// has a calling convention that depends on the processor.
#define LOAD(from)                                \
  ({                                              \
    block loaded;                                 \
    memcpy(&loaded, (from), sizeof(block));       \
    loaded;                                       \
  })
#define STORE(to, value)                          \
  do {                                            \
    block stored = (value);                       \
    memcpy((to), &stored, sizeof(block));         \
  } while (0)
#define IS_ZERO(value) (__builtin_reduce_or(value) == 0)
#define POPCOUNT(value) ((uint64_t)__builtin_popcountll(value))

VECTORISED uint64_t godwit_bitmap_merge(uint64_t *target, const uint64_t *source, size_t words) {
  block added = {0};
  size_t i = 0;
  for (; i + LANES <= words; i += LANES) {
    block from = LOAD(source + i);
    if (IS_ZERO(from)) continue;
    block to = LOAD(target + i);
    added += __builtin_elementwise_popcount(from & ~to);
    STORE(target + i, to | from);
  }
  uint64_t sum = __builtin_reduce_add(added);
  for (; i < words; i++) {
    sum += POPCOUNT(source[i] & ~target[i]);
    target[i] |= source[i];
  }
  return sum;
}

VECTORISED uint64_t godwit_bitmap_merge_shifted(uint64_t *target, const uint64_t *source,
                                                size_t words, unsigned shift) {
  const uint64_t down = shift, up = 64 - shift;
  block added = {0};
  size_t i = 0;
  for (; i + LANES <= words; i += LANES) {
    block low = LOAD(source + i), high = LOAD(source + i + 1);
    if (IS_ZERO(low | high)) continue;
    block from = (low >> down) | (high << up);
    block to = LOAD(target + i);
    added += __builtin_elementwise_popcount(from & ~to);
    STORE(target + i, to | from);
  }
  uint64_t sum = __builtin_reduce_add(added);
  for (; i < words; i++) {
    uint64_t from = (source[i] >> down) | (source[i + 1] << up);
    sum += POPCOUNT(from & ~target[i]);
    target[i] |= from;
  }
  return sum;
}

VECTORISED uint64_t godwit_bitmap_fill(uint64_t *target, size_t words) {
  block added = {0};
  size_t i = 0;
  for (; i + LANES <= words; i += LANES) {
    block to = LOAD(target + i);
    added += __builtin_elementwise_popcount(~to);
    STORE(target + i, to | ~to);
  }
  uint64_t sum = __builtin_reduce_add(added);
  for (; i < words; i++) {
    sum += POPCOUNT(~target[i]);
    target[i] = ~0ull;
  }
  return sum;
}

#define MARKED(i) __atomic_load_n(marks + (i), __ATOMIC_RELAXED)

VECTORISED uint64_t godwit_bitmap_harvest(uint64_t *marks, uint64_t *merged, uint64_t *target,
                                          size_t words, uint64_t *added) {
  block found = {0}, fresh = {0};
  uint64_t found_sum = 0, fresh_sum = 0;
  size_t i = 0;
  for (; i + LANES <= words; i += LANES) {
    block from = LOAD(merged + i);
    uint64_t marked = MARKED(i) | MARKED(i + 1) | MARKED(i + 2) | MARKED(i + 3) | MARKED(i + 4) |
                      MARKED(i + 5) | MARKED(i + 6) | MARKED(i + 7);
    if (__builtin_expect(marked != 0, 0)) {
      for (int lane = 0; lane < LANES; lane++) {
        if (MARKED(i + lane) == 0) continue;
        from[lane] |= __atomic_exchange_n(marks + i + lane, 0, __ATOMIC_SEQ_CST);
      }
    } else if (IS_ZERO(from)) {
      continue;
    }
    block to = LOAD(target + i);
    found += __builtin_elementwise_popcount(from);
    fresh += __builtin_elementwise_popcount(from & ~to);
    STORE(target + i, to | from);
    STORE(merged + i, (block){0});
  }
  found_sum = __builtin_reduce_add(found);
  fresh_sum = __builtin_reduce_add(fresh);
  for (; i < words; i++) {
    uint64_t from = merged[i];
    if (MARKED(i)) from |= __atomic_exchange_n(marks + i, 0, __ATOMIC_SEQ_CST);
    merged[i] = 0;
    found_sum += POPCOUNT(from);
    fresh_sum += POPCOUNT(from & ~target[i]);
    target[i] |= from;
  }
  *added += fresh_sum;
  return found_sum;
}

VECTORISED uint64_t godwit_bitmap_count(const uint64_t *marks, const uint64_t *merged,
                                        size_t words) {
  uint64_t sum = 0;
  for (size_t i = 0; i < words; i++) {
    uint64_t word = merged[i] | MARKED(i);
    if (word) sum += POPCOUNT(word);
  }
  return sum;
}

VECTORISED _Bool godwit_bytes_are_zero(const void *bytes, size_t count) {
  const uint8_t *next = bytes;
  for (; count >= 4 * sizeof(block); count -= 4 * sizeof(block), next += 4 * sizeof(block)) {
    block all = LOAD(next) | LOAD(next + 64) | LOAD(next + 128) | LOAD(next + 192);
    if (!IS_ZERO(all)) return 0;
  }
  for (; count > 0; count--) {
    if (*next++ != 0) return 0;
  }
  return 1;
}
