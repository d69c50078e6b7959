/* Tokens in step: each lane holds one, encrypted and hashed a stride at a time while it is in the first cache. */

#ifndef P2PD_TOKENS_H
#define P2PD_TOKENS_H

#include "aes.h"
#include "sha256.h"

#define LANES 4
#define STRIDE 4096 /* octets of a lane between encrypting and hashing them */

typedef struct {
    __m128i aes[11];
    Sha inner, outer;
    uint8_t *token;
    size_t cipher; /* octets of ciphertext */
    size_t encrypted; /* of them */
    size_t hashed; /* octets of the token */
} Lane;

/* A lane for the token of `size` octets (head, whole blocks of ciphertext, MAC) under this key. */
static TARGET void set_up(Lane *lane, const uint8_t key[KEY], uint8_t *token, size_t size)
{
    uint8_t pad[64] = {0};
    lane->token = token;
    lane->cipher = size - HEAD - MAC;
    lane->encrypted = lane->hashed = 0;
    aes_expand(lane->aes, key + 16);
    memcpy(pad, key, 16);
    for (int i = 0; i < 64; i++)
        pad[i] ^= 0x36;
    lane->inner = sha_start();
    compress_one(&lane->inner, pad, 1);
    for (int i = 0; i < 64; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    lane->outer = sha_start();
    compress_one(&lane->outer, pad, 1);
    wipe(pad, sizeof pad);
}

/* Hashes what lies before `end` in each of `n` lanes, as far as whole blocks go. */
static TARGET void absorb(Lane *const lanes[], int n, const size_t end[])
{
    for (int l = 0; l < n; l += 2) {
        size_t blocks[2] = {(end[l] - lanes[l]->hashed) / 64, 0};
        if (l + 1 < n) {
            blocks[1] = (end[l + 1] - lanes[l + 1]->hashed) / 64;
            const size_t both = blocks[0] < blocks[1] ? blocks[0] : blocks[1];
            if (both) {
                Sha *const sha[2] = {&lanes[l]->inner, &lanes[l + 1]->inner};
                const uint8_t *const from[2] = {
                    lanes[l]->token + lanes[l]->hashed, lanes[l + 1]->token + lanes[l + 1]->hashed};
                compress_two(sha, from, both);
            }
            for (int i = 0; i < 2; i++) {
                lanes[l + i]->hashed += 64 * both;
                blocks[i] -= both;
            }
        }
        for (int i = 0; i < 2 && l + i < n; i++) {
            if (!blocks[i])
                continue;
            Lane *lane = lanes[l + i];
            compress_one(&lane->inner, lane->token + lane->hashed, blocks[i]);
            lane->hashed += 64 * blocks[i];
        }
    }
}

static TARGET void mac_of(Lane *lane, uint8_t out[MAC])
{
    const size_t total = HEAD + lane->cipher;
    uint8_t digest[MAC];
    sha_end(&lane->inner, lane->token + lane->hashed, total - lane->hashed, 64 + total, digest);
    sha_end(&lane->outer, digest, MAC, 64 + MAC, out);
}

/* `blocks` times 64 octets of each of `n` lanes encrypted, while as many of the stride before are hashed: neither waits for the other, and
   each leaves the core time for it. */
INLINE void both(int n, Chain chains[], Sha *const shas[], const uint8_t *const from[], size_t blocks)
{
    Chain own[LANES];
    Sha sha[LANES];
    for (int l = 0; l < n; l++)
        own[l] = chains[l], sha[l] = *shas[l];
    for (size_t i = 0; i < blocks; i++) {
#pragma GCC unroll 2
        for (int l = 0; l < n; l += 2) {
            const int m = l + 1 < n ? 2 : 1;
            Sha *const pair[2] = {&sha[l], &sha[l + m - 1]};
            const uint8_t *const at[2] = {from[l] + 64 * i, from[l + m - 1] + 64 * i};
            Block block;
            block_begin(m, &block, pair, at);
            block_quarter(m, &block, 0);
            cbc_step(n, own);
            block_quarter(m, &block, 1);
            if (n < 3)
                cbc_step(n, own);
            block_quarter(m, &block, 2);
            cbc_step(n, own);
            block_quarter(m, &block, 3);
            if (n < 3)
                cbc_step(n, own);
            block_end(m, &block, pair);
        }
    }
    for (int l = 0; l < n; l++)
        chains[l] = own[l], *shas[l] = sha[l];
}

static TARGET __attribute__((noinline)) void encrypt_and_hash(
    Chain chains[], Sha *const shas[], const uint8_t *const from[], int n, size_t blocks)
{
    switch (n) {
    case 1: both(1, chains, shas, from, blocks); break;
    case 2: both(2, chains, shas, from, blocks); break;
    case 3: both(3, chains, shas, from, blocks); break;
    default: both(4, chains, shas, from, blocks);
    }
}

/* Encrypts and signs what lies in the lanes, padded already. */
static TARGET void seal_lanes(Lane lanes[], int n)
{
    Lane *all[LANES] = {0};
    size_t end[LANES] = {0};
    __m128i last[LANES];
    for (int l = 0; l < n; l++)
        last[l] = _mm_loadu_si128((const __m128i *)(lanes[l].token + HEAD - 16));
    for (;;) {
        Lane *busy[LANES];
        Chain chains[LANES];
        size_t step = STRIDE;
        int count = 0;
        for (int l = 0; l < n; l++) {
            const size_t left = lanes[l].cipher - lanes[l].encrypted;
            if (!left)
                continue;
            chains[count] = (Chain){lanes[l].aes, last[l], lanes[l].token + HEAD + lanes[l].encrypted};
            busy[count++] = &lanes[l];
            step = left < step ? left : step;
        }
        if (!count)
            break;
        size_t blocks = step / 64; /* that all of them can hash meanwhile */
        Sha *shas[LANES];
        const uint8_t *from[LANES];
        for (int l = 0; l < count; l++) {
            const size_t ready = (HEAD + busy[l]->encrypted - busy[l]->hashed) / 64;
            blocks = ready < blocks ? ready : blocks;
            shas[l] = &busy[l]->inner;
            from[l] = busy[l]->token + busy[l]->hashed;
        }
        encrypt_and_hash(chains, shas, from, count, blocks);
        cbc_encrypt(chains, count, step / 16 - 4 * blocks);
        for (int l = 0; l < count; l++) {
            last[busy[l] - lanes] = chains[l].last;
            busy[l]->hashed += 64 * blocks;
            busy[l]->encrypted += step;
        }
    }
    for (int l = 0; l < n; l++) {
        all[l] = &lanes[l];
        end[l] = HEAD + lanes[l].cipher;
    }
    absorb(all, n, end);
    for (int l = 0; l < n; l++)
        mac_of(&lanes[l], lanes[l].token + HEAD + lanes[l].cipher);
}

/* Octets of the plaintext; -1: the MAC is wrong and nothing was written, -2: the padding is wrong. Its token is hashed already. */
static TARGET ptrdiff_t open_lane(Lane *lane, uint8_t *out)
{
    uint8_t mac[MAC], differs = 0;
    mac_of(lane, mac);
    for (int i = 0; i < MAC; i++)
        differs |= mac[i] ^ lane->token[HEAD + lane->cipher + i];
    if (differs)
        return -1;
    cbc_decrypt(lane->aes, lane->token + HEAD - 16, lane->cipher / 16, out);
    const uint8_t padding = out[lane->cipher - 1];
    if (padding < 1 || padding > 16)
        return -2;
    for (size_t i = 1; i <= padding; i++)
        if (out[lane->cipher - i] != padding)
            return -2;
    return (ptrdiff_t)(lane->cipher - padding);
}

/* All MACs first, two by two; then what is right is decrypted. */
static TARGET void open_lanes(Lane lanes[], int n, uint8_t *const out[], ptrdiff_t found[])
{
    Lane *all[LANES] = {0};
    size_t end[LANES] = {0};
    for (int l = 0; l < n; l++) {
        all[l] = &lanes[l];
        end[l] = HEAD + lanes[l].cipher;
    }
    absorb(all, n, end);
    for (int l = 0; l < n; l++)
        found[l] = open_lane(&lanes[l], out[l]);
}

#endif
