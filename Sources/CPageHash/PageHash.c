// Two SHA-256 computations side by side. One alone waits for its own last result at every step (the
// SHA instructions take several cycles each, and each needs the one before); two independent ones
// fill each other's gaps, which is worth half as much again or more of OpenSSL's rate.
#include "PageHash.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

_Bool godwit_sha256_pair_is_available(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  // SSSE3 and SSE4.1.
  if (!(c & (1u << 9)) || !(c & (1u << 19))) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  return (b & (1u << 29)) != 0;
}

/// The eight state words as the SHA instructions want them.
typedef struct {
  __m128i abef, cdgh;
} lane_state;

#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))

/// Four rounds of one lane with the words `w`.
#define FOUR_ROUNDS(lane, w, group)                                                         \
  do {                                                                                      \
    __m128i sum = _mm_add_epi32(                                                            \
        w, _mm_load_si128((const __m128i *)(round_constants + 4 * (group))));               \
    lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sum);                           \
    lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, _mm_shuffle_epi32(sum, 0x0E));  \
  } while (0)

/// The next four words of the schedule, from the last sixteen, over the oldest four.
#define NEXT_WORDS(w0, w1, w2, w3)                                              \
  w0 = _mm_sha256msg2_epu32(                                                    \
      _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3)

/// One block of both lanes.
static inline __attribute__((always_inline)) WITH_SHA void pair_block(
    lane_state *first, lane_state *second, const uint8_t *x, const uint8_t *y) {
  const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
  lane_state s = *first, t = *second;
  __m128i x0, x1, x2, x3, y0, y1, y2, y3;
#define LOAD(p, i) _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p) + (i)), order)
  x0 = LOAD(x, 0), y0 = LOAD(y, 0);
  FOUR_ROUNDS(s, x0, 0);
  FOUR_ROUNDS(t, y0, 0);
  x1 = LOAD(x, 1), y1 = LOAD(y, 1);
  FOUR_ROUNDS(s, x1, 1);
  FOUR_ROUNDS(t, y1, 1);
  x2 = LOAD(x, 2), y2 = LOAD(y, 2);
  FOUR_ROUNDS(s, x2, 2);
  FOUR_ROUNDS(t, y2, 2);
  x3 = LOAD(x, 3), y3 = LOAD(y, 3);
  FOUR_ROUNDS(s, x3, 3);
  FOUR_ROUNDS(t, y3, 3);
#undef LOAD
#define GROUP(w, v, a, b, c, d, e, f, g, h, number) \
  NEXT_WORDS(a, b, c, d);                           \
  NEXT_WORDS(e, f, g, h);                           \
  FOUR_ROUNDS(s, w, number);                        \
  FOUR_ROUNDS(t, v, number)
#define SIXTEEN_ROUNDS(number)                                \
  GROUP(x0, y0, x0, x1, x2, x3, y0, y1, y2, y3, number);      \
  GROUP(x1, y1, x1, x2, x3, x0, y1, y2, y3, y0, number + 1);  \
  GROUP(x2, y2, x2, x3, x0, x1, y2, y3, y0, y1, number + 2);  \
  GROUP(x3, y3, x3, x0, x1, x2, y3, y0, y1, y2, number + 3)
  SIXTEEN_ROUNDS(4);
  SIXTEEN_ROUNDS(8);
  SIXTEEN_ROUNDS(12);
#undef SIXTEEN_ROUNDS
#undef GROUP
  first->abef = _mm_add_epi32(first->abef, s.abef);
  first->cdgh = _mm_add_epi32(first->cdgh, s.cdgh);
  second->abef = _mm_add_epi32(second->abef, t.abef);
  second->cdgh = _mm_add_epi32(second->cdgh, t.cdgh);
}

static WITH_SHA void store_digest(const lane_state *lane, uint8_t *digest) {
  uint32_t abef[4], cdgh[4];
  _mm_storeu_si128((__m128i *)abef, lane->abef);
  _mm_storeu_si128((__m128i *)cdgh, lane->cdgh);
  // Lowest word first: f e b a, and h g d c.
  const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
  for (int index = 0; index < 8; index++) {
    digest[4 * index] = (uint8_t)(words[index] >> 24);
    digest[4 * index + 1] = (uint8_t)(words[index] >> 16);
    digest[4 * index + 2] = (uint8_t)(words[index] >> 8);
    digest[4 * index + 3] = (uint8_t)words[index];
  }
}

WITH_SHA void godwit_sha256_pair(const uint8_t *first, const uint8_t *second, size_t length,
                                 uint8_t *first_digest, uint8_t *second_digest) {
  lane_state s, t;
  s.abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
  s.cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
  t = s;
  // Pages are mostly hashed in a row. The processor fetches ahead within a page only, and would wait
  // for the first lines of every next one; fetching what is not there is no fault.
  const size_t ahead = second == first + length ? 2 * length : 0;
  for (size_t offset = 0; offset + 64 <= length; offset += 64) {
    _mm_prefetch((const char *)((uintptr_t)first + ahead + offset), _MM_HINT_T0);
    _mm_prefetch((const char *)((uintptr_t)second + ahead + offset), _MM_HINT_T0);
    pair_block(&s, &t, first + offset, second + offset);
  }
  // The last block of a message of whole blocks: a one bit, zeros, the length in bits.
  uint8_t last[64] = {0x80};
  const uint64_t bits = (uint64_t)length * 8;
  for (int index = 0; index < 8; index++) last[56 + index] = (uint8_t)(bits >> (56 - 8 * index));
  pair_block(&s, &t, last, last);
  store_digest(&s, first_digest);
  store_digest(&t, second_digest);
}

#else

_Bool godwit_sha256_pair_is_available(void) { return 0; }

void godwit_sha256_pair(const uint8_t *first, const uint8_t *second, size_t length,
                        uint8_t *first_digest, uint8_t *second_digest) {
  (void)first, (void)second, (void)length, (void)first_digest, (void)second_digest;
}

#endif
