// File ranges (allocation, holes, writeback) and words of shared mappings. The calls that need
// GNU's declarations are made in Files.c: including <fcntl.h> here with other feature macros than
// Glibc's module has would give Swift two different definitions of the same structures.
#ifndef GODWIT_CLINUX_FILES_H
#define GODWIT_CLINUX_FILES_H

#include <stdint.h>

/// Allocates blocks for a range, extending the file; 0 or -errno.
int godwit_file_allocate(int fd, int64_t offset, int64_t length);

/// Gives a range's blocks back, the file's length unchanged; 0 or -errno.
int godwit_file_punch_hole(int fd, int64_t offset, int64_t length);

/// Starts writing a range's dirty pages to the disk without waiting; 0 or -errno.
int godwit_file_start_writeback(int fd, int64_t offset, int64_t length);

/// The flag that opens a file past the page cache, `O_DIRECT`: its value depends on the processor.
int godwit_file_direct(void);

/// Whether a file lies in memory (tmpfs, ramfs): 1 or 0; -errno.
int godwit_file_is_in_memory(int fd);

/// Loads a word of memory that other threads and processes share.
static inline uint64_t godwit_word_load(const uint64_t *word) {
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/// Stores into a word of shared memory.
static inline void godwit_word_store(uint64_t *word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/// Replaces `expected` by `desired`; whether it did.
static inline _Bool godwit_word_exchange(uint64_t *word, uint64_t expected, uint64_t desired) {
  return __atomic_compare_exchange_n(word, &expected, desired, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}

#endif
