// SHA-256 of two pages at once, where the processor has SHA instructions.
#ifndef GODWIT_PAGE_HASH_H
#define GODWIT_PAGE_HASH_H

#include <stddef.h>
#include <stdint.h>

/// Whether `godwit_sha256_pair` may be called on this processor.
_Bool godwit_sha256_pair_is_available(void);

/// SHA-256 of two messages of the same length, a multiple of 64 bytes; each digest is 32 bytes.
void godwit_sha256_pair(const uint8_t *first, const uint8_t *second, size_t length,
                        uint8_t *first_digest, uint8_t *second_digest);

#endif
