// The inner loops over dirty bitmaps and pages, for the widest vectors that the processor has.
// A bitmap is an array of 64-bit words; page 0 is the lowest bit of the first word.
//
// "marks" are words that other threads set bits in at any time, atomically; in "summary" they then
// set the bit of the mark's chunk of 64 words. "target" and "merged" are the caller's alone during
// a call (it holds a lock).
#ifndef GODWIT_DIRTY_BITMAP_H
#define GODWIT_DIRTY_BITMAP_H

#include <stddef.h>
#include <stdint.h>

/// Words that one bit of a summary stands for.
enum { GODWIT_CHUNK_WORDS = 64 };

/// Sets in `target` what is set in `source`; how many bits that added.
uint64_t godwit_bitmap_merge(uint64_t *target, const uint64_t *source, size_t words);

/// The same for a source whose bits are `shift` (1 to 63) places too high: bit i of the target is
/// bit i + shift of the source, of which words + 1 words are read.
uint64_t godwit_bitmap_merge_shifted(uint64_t *target, const uint64_t *source, size_t words,
                                     unsigned shift);

/// Sets every bit of `target`; how many were clear.
uint64_t godwit_bitmap_fill(uint64_t *target, size_t words);

/// Moves what is set in `merged` into `target` and clears it.
/// Returns how many bits were set; `*added` grows by how many of them `target` did not have.
uint64_t godwit_bitmap_harvest(uint64_t *merged, uint64_t *target, size_t words, uint64_t *added);

/// Clears `merged`; how many bits were set.
uint64_t godwit_bitmap_clear(uint64_t *merged, size_t words);

/// How many bits are set in `merged`.
uint64_t godwit_bitmap_count(const uint64_t *merged, size_t words);

/// Whether all `count` bytes are zero; any address, any count.
_Bool godwit_bytes_are_zero(const void *bytes, size_t count);

/// Moves the marks of the chunks of `wanted` into `merged`; *summary says which chunks have any.
void godwit_marks_fold(uint64_t *summary, uint64_t wanted, uint64_t *marks, uint64_t *merged);

/// Sets the bits of `mask` in a word of marks, and the bit `chunk` of its summary.
///
/// To be called after the pages were written: whoever folds the marks afterwards, and then reads the
/// pages, sees what was written.
static inline void godwit_marks_set(uint64_t *word, uint64_t mask, uint64_t *summary,
                                    uint64_t chunk) {
  // Reading first keeps the cache line of a page that is written again and again from moving
  // between processors. The fence orders the caller's write before that reading: if the bit is
  // still set, its taking comes later.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if ((__atomic_load_n(word, __ATOMIC_SEQ_CST) & mask) != mask)
    __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
  // The summary comes second here and is taken first by the folding: a mark can be folded with its
  // summary still to come, which costs one look too many, but never the other way round.
  if ((__atomic_load_n(summary, __ATOMIC_SEQ_CST) & chunk) == 0)
    __atomic_fetch_or(summary, chunk, __ATOMIC_SEQ_CST);
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
