/* What all of it needs: sizes of a token, and to forget a key. */

#ifndef P2PD_BASE_H
#define P2PD_BASE_H

#if !defined(__x86_64__) || !(defined(__GNUC__) || defined(__clang__))
#error "for x86-64, with gcc or clang; protocol/fernet.py does without"
#endif

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HEAD 25 /* version, time, IV */
#define MAC 32
#define KEY 32 /* 16 octets for the HMAC, then 16 for AES */

/* The instructions are named here and not for the compiler as a whole: whoever loads this asks the processor first. */
#define TARGET __attribute__((target("aes,sha,sse4.1,ssse3")))
#define INLINE static inline __attribute__((always_inline)) TARGET

static inline void wipe(void *what, size_t size)
{
    memset(what, 0, size);
    __asm__ volatile("" : : "r"(what) : "memory"); /* not to be optimised away */
}

#endif
