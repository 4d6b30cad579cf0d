// The inner loops over dirty bitmaps and pages, for the widest vectors that the processor has.
// A bitmap is an array of 64-bit words; page 0 is the lowest bit of the first word.
//
// "marks" are words that other threads set bits in at any time, atomically; in "summary" they then
// set the bit of the mark's chunk of 64 words. A layer and "target" are the caller's alone during
// a call (it holds a lock).
//
#ifndef GODWIT_DIRTY_BITMAP_H
#define GODWIT_DIRTY_BITMAP_H

#include <stddef.h>
#include <stdint.h>

/// Words that one bit of a summary stands for.
enum { GODWIT_CHUNK_WORDS = 64 };

/// A bitmap of chunks, some of which count.
///
/// The words of a chunk that is not held are as good as zero, whatever they are: what is merged into
/// it is written over them, and taking everything out of it clears one bit. That spares a read
/// here and a write there of each word, and memory is what these loops wait for.
typedef struct {
  uint64_t *words;
  /// Bit i: whether chunk i counts.
  uint64_t *held;
  /// How many bits are set; kept, so that a harvest has only one thing to count.
  uint64_t *population;
  /// Words of the layer, a multiple of those of a chunk.
  size_t count;
} godwit_layer;

/// Sets in a layer, from word `first` on, what is set in `source`; how many bits that added.
uint64_t godwit_layer_merge(godwit_layer layer, size_t first, size_t words,
                            const uint64_t *source);

/// The same for a source whose bits are `shift` (1 to 63) places too high: bit i of the layer's
/// words is bit i + shift of the source, of which words + 1 words are read.
uint64_t godwit_layer_merge_shifted(godwit_layer layer, size_t first, size_t words,
                                    const uint64_t *source, unsigned shift);

/// Sets every bit of a layer's words; how many were clear.
uint64_t godwit_layer_fill(godwit_layer layer, size_t first, size_t words);

/// Moves what is set in a layer's words into `target`, whose word 0 belongs to word `first`.
/// Returns how many bits were set; `*added` grows by how many of them `target` did not have.
uint64_t godwit_layer_harvest(godwit_layer layer, size_t first, size_t words, uint64_t *target,
                              uint64_t *added);

/// Clears a layer's words; how many bits were set.
uint64_t godwit_layer_clear(godwit_layer layer, size_t first, size_t words);

/// How many bits are set in a layer's words.
uint64_t godwit_layer_count(godwit_layer layer, size_t first, size_t words);

/// Whether the words of a chunk count.
static inline _Bool godwit_layer_holds(godwit_layer layer, size_t chunk) {
  return layer.held[chunk / 64] >> (chunk % 64) & 1;
}

/// Makes the words of a chunk count: zeros, if they did not.
static inline void godwit_layer_hold(godwit_layer layer, size_t chunk) {
  if (godwit_layer_holds(layer, chunk)) return;
  layer.held[chunk / 64] |= 1ull << (chunk % 64);
  for (size_t i = 0; i < GODWIT_CHUNK_WORDS; i++) layer.words[chunk * GODWIT_CHUNK_WORDS + i] = 0;
}

/// A word of a layer.
static inline uint64_t godwit_layer_word(godwit_layer layer, size_t word) {
  return godwit_layer_holds(layer, word / GODWIT_CHUNK_WORDS) ? layer.words[word] : 0;
}

/// Sets the bits of `mask` in a word; how many that added.
static inline uint64_t godwit_layer_set(godwit_layer layer, size_t word, uint64_t mask) {
  godwit_layer_hold(layer, word / GODWIT_CHUNK_WORDS);
  uint64_t added = (uint64_t)__builtin_popcountll(mask & ~layer.words[word]);
  layer.words[word] |= mask;
  *layer.population += added;
  return added;
}

/// Clears the bits of `mask` in a word; those that were set.
static inline uint64_t godwit_layer_take(godwit_layer layer, size_t word, uint64_t mask) {
  uint64_t taken = godwit_layer_word(layer, word) & mask;
  if (taken == 0) return 0;
  layer.words[word] &= ~taken;
  *layer.population -= (uint64_t)__builtin_popcountll(taken);
  return taken;
}

/// Whether all `count` bytes are zero; any address, any count.
_Bool godwit_bytes_are_zero(const void *bytes, size_t count);

/// Moves the marks of the chunks of `wanted` into a layer. They are among the 64 chunks from
/// `chunk` on, a multiple of 64; `*summary` says which of those have marks, and `marks` begins with
/// the first of them.
void godwit_marks_fold(uint64_t *summary, uint64_t wanted, uint64_t *marks, godwit_layer layer,
                       size_t chunk);

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
