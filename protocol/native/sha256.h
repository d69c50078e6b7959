/* SHA-256 of one message, or of two in step: FIPS 180-4 with the SHA instructions of x86-64. */

#ifndef P2PD_SHA256_H
#define P2PD_SHA256_H

#include "base.h"

typedef struct {
    __m128i s[2]; /* ABEF, CDGH: the order that the instructions want */
} Sha;

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* One block of each of `n` (1 or 2) messages under way. */
typedef struct {
    __m128i a[2], b[2], w[2][4];
} Block;

INLINE void block_begin(int n, Block *block, Sha *const sha[], const uint8_t *const from[])
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
#pragma GCC unroll 2
    for (int l = 0; l < n; l++) {
        block->a[l] = sha[l]->s[0], block->b[l] = sha[l]->s[1];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            block->w[l][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from[l] + 16 * i)), swap);
    }
}

/* Sixteen rounds, the `quarter`th of four such; w[r & 3] holds W[4r .. 4r + 3]. */
INLINE void block_quarter(int n, Block *block, int quarter)
{
#pragma GCC unroll 4
    for (int r = 4 * quarter; r < 4 * quarter + 4; r++) {
        const __m128i k = _mm_load_si128((const __m128i *)(K + 4 * r));
#pragma GCC unroll 2
        for (int l = 0; l < n; l++) {
            __m128i *w = block->w[l];
            const __m128i m = _mm_add_epi32(w[r & 3], k);
            if (r < 12) {
                __m128i next = _mm_sha256msg1_epu32(w[r & 3], w[(r + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(w[(r + 3) & 3], w[(r + 2) & 3], 4));
                w[r & 3] = _mm_sha256msg2_epu32(next, w[(r + 3) & 3]);
            }
            block->b[l] = _mm_sha256rnds2_epu32(block->b[l], block->a[l], m);
            block->a[l] = _mm_sha256rnds2_epu32(block->a[l], block->b[l], _mm_shuffle_epi32(m, 0x0e));
        }
    }
}

INLINE void block_end(int n, const Block *block, Sha *const sha[])
{
#pragma GCC unroll 2
    for (int l = 0; l < n; l++) {
        sha[l]->s[0] = _mm_add_epi32(sha[l]->s[0], block->a[l]);
        sha[l]->s[1] = _mm_add_epi32(sha[l]->s[1], block->b[l]);
    }
}

/* `blocks` blocks of 64 octets of each of `n` (1 or 2) messages. */
INLINE void compress(int n, Sha *const sha[], const uint8_t *const from[], size_t blocks)
{
    const uint8_t *at[2] = {from[0], from[n - 1]};
    while (blocks--) {
        Block block;
        block_begin(n, &block, sha, at);
        block_quarter(n, &block, 0);
        block_quarter(n, &block, 1);
        block_quarter(n, &block, 2);
        block_quarter(n, &block, 3);
        block_end(n, &block, sha);
        at[0] += 64, at[1] += 64;
    }
}

static TARGET __attribute__((noinline)) void compress_one(Sha *sha, const uint8_t *from, size_t blocks)
{
    Sha *const one[1] = {sha};
    const uint8_t *const at[1] = {from};
    compress(1, one, at, blocks);
}

static TARGET __attribute__((noinline)) void compress_two(Sha *const sha[], const uint8_t *const from[], size_t blocks)
{
    compress(2, sha, from, blocks);
}

INLINE Sha sha_start(void)
{
    /* Initial hash value (FIPS 180-4, 5.3.3), highest word first: A B E F, then C D G H. */
    Sha sha = {{_mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
                _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)}};
    return sha;
}

static TARGET void sha_put(const Sha *sha, uint8_t out[MAC])
{
    uint32_t abef[4], cdgh[4];
    _mm_storeu_si128((__m128i *)abef, sha->s[0]);
    _mm_storeu_si128((__m128i *)cdgh, sha->s[1]);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = (uint8_t)(words[i] >> (24 - 8 * j));
}

/* The digest of a message of `total` octets, of which the last `rest` (less than 64) at `tail` are not compressed yet. */
static TARGET void sha_end(Sha *sha, const uint8_t *tail, size_t rest, uint64_t total, uint8_t out[MAC])
{
    uint8_t last[128] = {0};
    const size_t size = rest < 56 ? 64 : 128;
    memcpy(last, tail, rest);
    last[rest] = 0x80;
    for (int j = 0; j < 8; j++)
        last[size - 1 - j] = (uint8_t)(total * 8 >> 8 * j);
    compress_one(sha, last, size / 64);
    sha_put(sha, out);
}

#endif
