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

// Bits are counted as in a written addition: three blocks make a sum and a carry of twice its
// weight, so that seven of eight blocks cost a few logical operations each and only the eighth is
// counted (Harley and Seal). Most processors have no instruction that counts a vector's bits.
typedef struct {
  block ones, twos, fours, eights;
} tally;

#define CARRY(high, low, first, second, third)                          \
  do {                                                                  \
    block a = (first), b = (second), c = (third), either = a ^ b;       \
    (high) = (a & b) | (either & c);                                    \
    (low) = either ^ c;                                                 \
  } while (0)

/// Counts the blocks BLOCK(0), BLOCK(8) ... BLOCK(56), each evaluated once and in that order.
#define TALLY(to, BLOCK)                                                \
  do {                                                                  \
    block twos_a, twos_b, fours_a, fours_b, eight;                      \
    CARRY(twos_a, (to).ones, (to).ones, BLOCK(0), BLOCK(8));            \
    CARRY(twos_b, (to).ones, (to).ones, BLOCK(16), BLOCK(24));          \
    CARRY(fours_a, (to).twos, (to).twos, twos_a, twos_b);               \
    CARRY(twos_a, (to).ones, (to).ones, BLOCK(32), BLOCK(40));          \
    CARRY(twos_b, (to).ones, (to).ones, BLOCK(48), BLOCK(56));          \
    CARRY(fours_b, (to).twos, (to).twos, twos_a, twos_b);               \
    CARRY(eight, (to).fours, (to).fours, fours_a, fours_b);             \
    (to).eights += BITS_OF(eight);                                      \
  } while (0)

#define TOTAL(of)                                                       \
  (__builtin_reduce_add(BITS_OF((of).ones)) + 2 * __builtin_reduce_add(BITS_OF((of).twos)) + \
   4 * __builtin_reduce_add(BITS_OF((of).fours)) + 8 * __builtin_reduce_add((of).eights))

/// For every chunk that words from `first` on touch: `chunk` is its number, `start` and `end` are
/// the words of it that they touch.
#define FOR_CHUNKS(first, words)                                                            \
  for (size_t chunk = (first) / CHUNK, start = (first), limit = (first) + (words), end;     \
       start < limit && (end = MIN((chunk + 1) * CHUNK, limit), 1); start = end, chunk++)
#define MIN(one, other) ((one) < (other) ? (one) : (other))

#define IS_WHOLE (end - start == CHUNK)
#define IS_HELD godwit_layer_holds(layer, chunk)
#define HOLD (layer.held[chunk / 64] |= 1ull << (chunk % 64))
#define LET_GO (layer.held[chunk / 64] &= ~(1ull << (chunk % 64)))

/// Adds a block to a block of memory; the value is what was new in it.
#define ADD(to, block_of_source)                                       \
  ({                                                                   \
    block old = LOAD(to), new = (block_of_source);                     \
    STORE((to), old | new);                                            \
    new & ~old;                                                        \
  })

VECTORISED uint64_t godwit_layer_merge(godwit_layer layer, size_t first, size_t words,
                                       const uint64_t *source) {
  tally added = {0};
  uint64_t sum = 0;
  FOR_CHUNKS(first, words) {
    const uint64_t *from = source + (start - first);
    uint64_t *to = layer.words + start;
    if (!IS_WHOLE) {
      godwit_layer_hold(layer, chunk);
      for (size_t i = 0; i < end - start; i++) {
        sum += POPCOUNT(from[i] & ~to[i]);
        to[i] |= from[i];
      }
      continue;
    }
    if (CHUNK_IS_ZERO(from)) continue;
    if (IS_HELD) {
#define BLOCK(at) ADD(to + (at), LOAD(from + (at)))
      TALLY(added, BLOCK);
#undef BLOCK
    } else {
#define BLOCK(at)                                                      \
  ({                                                                   \
    block new = LOAD(from + (at));                                     \
    STORE(to + (at), new);                                             \
    new;                                                               \
  })
      TALLY(added, BLOCK);
#undef BLOCK
      HOLD;
    }
  }
  sum += TOTAL(added);
  *layer.population += sum;
  return sum;
}

VECTORISED uint64_t godwit_layer_merge_shifted(godwit_layer layer, size_t first, size_t words,
                                               const uint64_t *source, unsigned shift) {
  const uint64_t down = shift, up = 64 - shift;
  tally added = {0};
  uint64_t sum = 0;
  FOR_CHUNKS(first, words) {
    const uint64_t *from = source + (start - first);
    uint64_t *to = layer.words + start;
    if (IS_WHOLE && from[CHUNK] == 0 && CHUNK_IS_ZERO(from)) continue;
    godwit_layer_hold(layer, chunk);
    if (!IS_WHOLE) {
      for (size_t i = 0; i < end - start; i++) {
        uint64_t new = (from[i] >> down) | (from[i + 1] << up);
        sum += POPCOUNT(new & ~to[i]);
        to[i] |= new;
      }
      continue;
    }
#define BLOCK(at) \
  ADD(to + (at), (LOAD(from + (at)) >> down) | (LOAD(from + (at) + 1) << up))
    TALLY(added, BLOCK);
#undef BLOCK
  }
  sum += TOTAL(added);
  *layer.population += sum;
  return sum;
}

VECTORISED uint64_t godwit_layer_count(godwit_layer layer, size_t first, size_t words) {
  tally found = {0};
  uint64_t sum = 0;
  FOR_CHUNKS(first, words) {
    if (!IS_HELD) continue;
    const uint64_t *from = layer.words + start;
    if (IS_WHOLE) {
#define BLOCK(at) LOAD(from + (at))
      TALLY(found, BLOCK);
#undef BLOCK
    } else {
      for (size_t i = 0; i < end - start; i++) sum += POPCOUNT(from[i]);
    }
  }
  return sum + TOTAL(found);
}

VECTORISED uint64_t godwit_layer_fill(godwit_layer layer, size_t first, size_t words) {
  uint64_t added = words * 64 - godwit_layer_count(layer, first, words);
  FOR_CHUNKS(first, words) {
    if (!IS_WHOLE) godwit_layer_hold(layer, chunk);
    for (size_t i = start; i < end; i++) layer.words[i] = ~0ull;
    HOLD;
  }
  *layer.population += added;
  return added;
}

/// How many bits are set in some words, looking at those inside or at those outside, which are
/// fewer.
static uint64_t count_by_fewer(godwit_layer layer, size_t first, size_t words) {
  if (words < layer.count / 2) return godwit_layer_count(layer, first, words);
  size_t end = first + words;
  return *layer.population - godwit_layer_count(layer, 0, first) -
         godwit_layer_count(layer, end, layer.count - end);
}

VECTORISED uint64_t godwit_layer_harvest(godwit_layer layer, size_t first, size_t words,
                                         uint64_t *target, uint64_t *added) {
  uint64_t found = count_by_fewer(layer, first, words);
  tally fresh = {0};
  uint64_t sum = 0;
  FOR_CHUNKS(first, words) {
    if (!IS_HELD) continue;
    uint64_t *from = layer.words + start;
    uint64_t *to = target + (start - first);
    if (IS_WHOLE) {
#define BLOCK(at) ADD(to + (at), LOAD(from + (at)))
      TALLY(fresh, BLOCK);
#undef BLOCK
      LET_GO;
    } else {
      for (size_t i = 0; i < end - start; i++) {
        sum += POPCOUNT(from[i] & ~to[i]);
        to[i] |= from[i];
        from[i] = 0;
      }
    }
  }
  *added += sum + TOTAL(fresh);
  *layer.population -= found;
  return found;
}

VECTORISED uint64_t godwit_layer_clear(godwit_layer layer, size_t first, size_t words) {
  uint64_t found = count_by_fewer(layer, first, words);
  FOR_CHUNKS(first, words) {
    if (IS_WHOLE) {
      LET_GO;
    } else if (IS_HELD) {
      for (size_t i = start; i < end; i++) layer.words[i] = 0;
    }
  }
  *layer.population -= found;
  return found;
}

void godwit_marks_fold(uint64_t *summary, uint64_t wanted, uint64_t *marks, godwit_layer layer,
                       size_t chunk) {
  if ((__atomic_load_n(summary, __ATOMIC_SEQ_CST) & wanted) == 0) return;
  uint64_t chunks = __atomic_fetch_and(summary, ~wanted, __ATOMIC_SEQ_CST) & wanted;
  for (; chunks != 0; chunks &= chunks - 1) {
    size_t first = (size_t)__builtin_ctzll(chunks) * CHUNK;
    for (size_t i = first; i < first + CHUNK; i++) {
      if (__atomic_load_n(marks + i, __ATOMIC_SEQ_CST) == 0) continue;
      uint64_t taken = __atomic_exchange_n(marks + i, 0, __ATOMIC_SEQ_CST);
      godwit_layer_set(layer, chunk * CHUNK + i, taken);
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
