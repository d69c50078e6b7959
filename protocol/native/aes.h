/* AES-128 in CBC mode: encryption of up to four messages in step (SP 800-38A makes each a chain), decryption of one, eight blocks at a time.
   FIPS 197 with the AES instructions of x86-64. */

#ifndef P2PD_AES_H
#define P2PD_AES_H

#include "base.h"

INLINE __m128i key_step(__m128i key, __m128i assist)
{
    assist = _mm_shuffle_epi32(assist, 0xff);
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    return _mm_xor_si128(key, assist);
}

/* The round keys of a key of 16 octets. */
static TARGET void aes_expand(__m128i k[11], const uint8_t key[16])
{
    k[0] = _mm_loadu_si128((const __m128i *)key);
#define STEP(i, rcon) k[i] = key_step(k[i - 1], _mm_aeskeygenassist_si128(k[i - 1], rcon))
    STEP(1, 0x01);
    STEP(2, 0x02);
    STEP(3, 0x04);
    STEP(4, 0x08);
    STEP(5, 0x10);
    STEP(6, 0x20);
    STEP(7, 0x40);
    STEP(8, 0x80);
    STEP(9, 0x1b);
    STEP(10, 0x36);
#undef STEP
}

typedef struct {
    const __m128i *keys;
    __m128i last; /* the block of ciphertext before */
    uint8_t *at;
} Chain;

/* The next block of each of `n` chains, in place. */
INLINE void cbc_step(int n, Chain chains[])
{
    __m128i x[4];
#pragma GCC unroll 4
    for (int l = 0; l < n; l++) {
        x[l] = _mm_xor_si128(chains[l].last, _mm_loadu_si128((const __m128i *)chains[l].at));
        x[l] = _mm_xor_si128(x[l], chains[l].keys[0]);
    }
#pragma GCC unroll 9
    for (int r = 1; r < 10; r++)
#pragma GCC unroll 4
        for (int l = 0; l < n; l++)
            x[l] = _mm_aesenc_si128(x[l], chains[l].keys[r]);
#pragma GCC unroll 4
    for (int l = 0; l < n; l++) {
        x[l] = _mm_aesenclast_si128(x[l], chains[l].keys[10]);
        _mm_storeu_si128((__m128i *)chains[l].at, x[l]);
        chains[l].last = x[l];
        chains[l].at += 16;
    }
}

INLINE void cbc(int n, Chain chains[], size_t blocks)
{
    Chain own[4]; /* so that they need not be in memory */
    for (int l = 0; l < n; l++)
        own[l] = chains[l];
    while (blocks--)
        cbc_step(n, own);
    for (int l = 0; l < n; l++)
        chains[l] = own[l];
}

/* Not "encrypt": musl and macOS have one in unistd.h. */
static TARGET __attribute__((noinline)) void cbc_encrypt(Chain chains[], int n, size_t blocks)
{
    switch (n) {
    case 1: cbc(1, chains, blocks); break;
    case 2: cbc(2, chains, blocks); break;
    case 3: cbc(3, chains, blocks); break;
    default: cbc(4, chains, blocks);
    }
}

/* The first `n` (up to 8) blocks at `from` to `out`; answers the last of them as it was. */
INLINE __m128i decrypt_some(const __m128i k[11], __m128i before, const uint8_t *from, uint8_t *out, int n)
{
    __m128i c[8], x[8];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        c[i] = _mm_loadu_si128((const __m128i *)(from + 16 * i));
        x[i] = _mm_xor_si128(c[i], k[0]);
    }
#pragma GCC unroll 9
    for (int r = 1; r < 10; r++)
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            x[i] = _mm_aesdec_si128(x[i], k[r]);
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        x[i] = _mm_xor_si128(_mm_aesdeclast_si128(x[i], k[10]), i ? c[i - 1] : before);
        _mm_storeu_si128((__m128i *)(out + 16 * i), x[i]);
    }
    return c[n - 1];
}

/* Where the processor has the wide instructions (VAES, AVX-512): sixteen blocks at a time, `times` times. Each block is combined with the one
   that lies before it, the first with the IV. */
static __attribute__((target("avx512f,vaes"), noinline)) void decrypt_wide(
    const __m128i k[11], const uint8_t *from, uint8_t *out, size_t times)
{
    __m512i wide[11];
    for (int r = 0; r < 11; r++)
        wide[r] = _mm512_broadcast_i32x4(k[r]);
    for (; times; times--, from += 256, out += 256) {
        __m512i x[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            x[i] = _mm512_xor_si512(_mm512_loadu_si512(from + 64 * i), wide[0]);
#pragma GCC unroll 9
        for (int r = 1; r < 10; r++)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                x[i] = _mm512_aesdec_epi128(x[i], wide[r]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            x[i] = _mm512_aesdeclast_epi128(x[i], wide[10]);
            _mm512_storeu_si512(out + 64 * i, _mm512_xor_si512(x[i], _mm512_loadu_si512(from + 64 * i - 16)));
        }
    }
    wipe(wide, sizeof wide);
}

static int wide_aes; /* set once, when the module is loaded */

/* `blocks` blocks behind the IV at `iv` to `out`, with the round keys of encryption. */
static TARGET void cbc_decrypt(const __m128i keys[11], const uint8_t *iv, size_t blocks, uint8_t *out)
{
    __m128i k[11], before = _mm_loadu_si128((const __m128i *)iv);
    const uint8_t *from = iv + 16;
    k[0] = keys[10], k[10] = keys[0];
    for (int r = 1; r < 10; r++)
        k[r] = _mm_aesimc_si128(keys[10 - r]);
    if (wide_aes && blocks >= 16) {
        const size_t octets = blocks / 16 * 256;
        decrypt_wide(k, from, out, blocks / 16);
        from += octets, out += octets, blocks %= 16;
        before = _mm_loadu_si128((const __m128i *)(from - 16));
    }
    for (; blocks >= 8; blocks -= 8, from += 128, out += 128)
        before = decrypt_some(k, before, from, out, 8);
    for (; blocks; blocks--, from += 16, out += 16)
        before = decrypt_some(k, before, from, out, 1);
    wipe(k, sizeof k);
}

#endif
