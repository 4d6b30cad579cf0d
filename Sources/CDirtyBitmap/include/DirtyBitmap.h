// The inner loops over dirty bitmaps and pages, for the widest vectors that the processor has.
// A bitmap is an array of 64-bit words; page 0 is the lowest bit of the first word.
//
// "marks" are words that other threads set bits in at any time, atomically. "target" and "merged"
// are the caller's alone during a call (it holds a lock).
#ifndef GODWIT_DIRTY_BITMAP_H
#define GODWIT_DIRTY_BITMAP_H

#include <stddef.h>
#include <stdint.h>

/// Sets in `target` what is set in `source`; how many bits that added.
uint64_t godwit_bitmap_merge(uint64_t *target, const uint64_t *source, size_t words);

/// The same for a source whose bits are `shift` (1 to 63) places too high: bit i of the target is
/// bit i + shift of the source, of which words + 1 words are read.
uint64_t godwit_bitmap_merge_shifted(uint64_t *target, const uint64_t *source, size_t words,
                                     unsigned shift);

/// Sets every bit of `target`; how many were clear.
uint64_t godwit_bitmap_fill(uint64_t *target, size_t words);

/// Moves what is set in `marks` or in `merged` into `target` and clears it in both.
/// Returns how many bits were set; `*added` grows by how many of them `target` did not have.
uint64_t godwit_bitmap_harvest(uint64_t *marks, uint64_t *merged, uint64_t *target, size_t words,
                               uint64_t *added);

/// How many bits are set in `marks` or in `merged`.
uint64_t godwit_bitmap_count(const uint64_t *marks, const uint64_t *merged, size_t words);

/// Whether all `count` bytes are zero; any address, any count.
_Bool godwit_bytes_are_zero(const void *bytes, size_t count);

/// Sets the bits of `mask` in a word that other threads use; the word as it was before.
static inline uint64_t godwit_word_set(uint64_t *word, uint64_t mask) {
  // Reading first keeps the cache line of a page that is written again and again from moving
  // between processors. The fence orders the caller's write to the page before the reading: whoever
  // clears the bit later then sees that write.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);
  if ((old & mask) == mask) return old;
  return __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
}

/// Clears the bits of `mask` in a word that other threads use; the word as it was before.
static inline uint64_t godwit_word_clear(uint64_t *word, uint64_t mask) {
  if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) == 0) return 0;
  return __atomic_fetch_and(word, ~mask, __ATOMIC_SEQ_CST);
}

/// A word that other threads use.
static inline uint64_t godwit_word_peek(const uint64_t *word) {
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/// Publishes a word: what was stored before is visible to whoever sees it.
static inline void godwit_word_publish(uint64_t *word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

#endif
