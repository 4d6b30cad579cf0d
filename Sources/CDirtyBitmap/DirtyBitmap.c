// A chunk of 64 words at a time is skipped where nothing in it is dirty, which is the usual case.
// Within a chunk nothing branches: with one page in a thousand dirty, a test for each vector would
// be guessed wrong every other time, which costs more than doing the work.
//
// The compiler makes a version of each loop for each kind of processor and the loader picks one.
#include "DirtyBitmap.h"

#include <string.h>

#if defined(__x86_64__) && defined(__ELF__)
#define VECTORISED __attribute__((target_clones("avx512vpopcntdq", "avx2", "popcnt", "default")))
#else
#define VECTORISED
#endif

enum { LANES = 8, CHUNK = GODWIT_CHUNK_WORDS };
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
#define BITS_OF(value) __builtin_elementwise_popcount(value)

/// Whether the eight blocks from `from` on are all zero.
#define CHUNK_IS_ZERO(from)                                                              \
  IS_ZERO((LOAD(from) | LOAD((from) + 8) | LOAD((from) + 16) | LOAD((from) + 24)) |      \
          (LOAD((from) + 32) | LOAD((from) + 40) | LOAD((from) + 48) | LOAD((from) + 56)))

VECTORISED uint64_t godwit_bitmap_merge(uint64_t *target, const uint64_t *source, size_t words) {
  block added = {0};
  size_t i = 0;
  for (; i + CHUNK <= words; i += CHUNK) {
    if (CHUNK_IS_ZERO(source + i)) continue;
    for (size_t k = i; k < i + CHUNK; k += LANES) {
      block from = LOAD(source + k), to = LOAD(target + k);
      added += BITS_OF(from & ~to);
      STORE(target + k, to | from);
    }
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
  for (; i + CHUNK <= words; i += CHUNK) {
    if (source[i + CHUNK] == 0 && CHUNK_IS_ZERO(source + i)) continue;
    for (size_t k = i; k < i + CHUNK; k += LANES) {
      block from = (LOAD(source + k) >> down) | (LOAD(source + k + 1) << up);
      block to = LOAD(target + k);
      added += BITS_OF(from & ~to);
      STORE(target + k, to | from);
    }
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
    added += BITS_OF(~to);
    STORE(target + i, to | ~to);
  }
  uint64_t sum = __builtin_reduce_add(added);
  for (; i < words; i++) {
    sum += POPCOUNT(~target[i]);
    target[i] = ~0ull;
  }
  return sum;
}

VECTORISED uint64_t godwit_bitmap_harvest(uint64_t *merged, uint64_t *target, size_t words,
                                          uint64_t *added) {
  block found = {0}, fresh = {0};
  size_t i = 0;
  for (; i + CHUNK <= words; i += CHUNK) {
    if (CHUNK_IS_ZERO(merged + i)) continue;
    for (size_t k = i; k < i + CHUNK; k += LANES) {
      block from = LOAD(merged + k), to = LOAD(target + k);
      found += BITS_OF(from);
      fresh += BITS_OF(from & ~to);
      STORE(target + k, to | from);
      STORE(merged + k, (block){0});
    }
  }
  uint64_t found_sum = __builtin_reduce_add(found);
  uint64_t fresh_sum = __builtin_reduce_add(fresh);
  for (; i < words; i++) {
    uint64_t from = merged[i];
    merged[i] = 0;
    found_sum += POPCOUNT(from);
    fresh_sum += POPCOUNT(from & ~target[i]);
    target[i] |= from;
  }
  *added += fresh_sum;
  return found_sum;
}

VECTORISED uint64_t godwit_bitmap_clear(uint64_t *merged, size_t words) {
  uint64_t sum = 0;
  for (size_t i = 0; i < words; i++) {
    if (merged[i] == 0) continue;
    sum += POPCOUNT(merged[i]);
    merged[i] = 0;
  }
  return sum;
}

VECTORISED uint64_t godwit_bitmap_count(const uint64_t *merged, size_t words) {
  block found = {0};
  size_t i = 0;
  for (; i + LANES <= words; i += LANES) found += BITS_OF(LOAD(merged + i));
  uint64_t sum = __builtin_reduce_add(found);
  for (; i < words; i++) sum += POPCOUNT(merged[i]);
  return sum;
}

void godwit_marks_fold(uint64_t *summary, uint64_t wanted, uint64_t *marks, uint64_t *merged) {
  if ((__atomic_load_n(summary, __ATOMIC_SEQ_CST) & wanted) == 0) return;
  uint64_t chunks = __atomic_fetch_and(summary, ~wanted, __ATOMIC_SEQ_CST) & wanted;
  for (; chunks != 0; chunks &= chunks - 1) {
    size_t first = (size_t)__builtin_ctzll(chunks) * CHUNK;
    for (size_t i = first; i < first + CHUNK; i++) {
      if (__atomic_load_n(marks + i, __ATOMIC_SEQ_CST) == 0) continue;
      merged[i] |= __atomic_exchange_n(marks + i, 0, __ATOMIC_SEQ_CST);
    }
  }
}

VECTORISED _Bool godwit_bytes_are_zero(const void *bytes, size_t count) {
  const uint8_t *next = bytes;
  for (; count >= 4 * sizeof(block); count -= 4 * sizeof(block), next += 4 * sizeof(block)) {
    if (!IS_ZERO(LOAD(next) | LOAD(next + 64) | LOAD(next + 128) | LOAD(next + 192))) return 0;
  }
  for (; count > 0; count--) {
    if (*next++ != 0) return 0;
  }
  return 1;
}
