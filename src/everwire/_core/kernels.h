/* The loops over payload bytes: masking (RFC 6455, section 5.3) and UTF-8 validation (RFC 3629).

   Each has a portable form and, where the compiler and the processor have them, SSE2, AVX2 or NEON forms.
   The form is chosen once, at the first call, by what the processor can do. */
#ifndef EVERWIRE_KERNELS_H
#define EVERWIRE_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define EW_X86 1
#include <immintrin.h>
#endif
#if defined(__aarch64__)
#define EW_NEON 1
#include <arm_neon.h>
#endif
#if defined(__GNUC__) || defined(__clang__)
#define EW_TARGET(what) __attribute__((target(what)))
#define EW_UNUSED __attribute__((unused))
#else
#define EW_TARGET(what)
#define EW_UNUSED
#endif

/* The key as it applies to a byte at offset `phase` of the payload: rotated so that its first byte comes first.
   Keys are handled in memory order, so this holds for either byte order. */
static inline uint32_t ew_rotate_key(uint32_t key, size_t phase)
{
    uint8_t k[4], r[4];
    uint32_t out;
    memcpy(k, &key, 4);
    for (int i = 0; i < 4; i++)
        r[i] = k[(i + phase) & 3];
    memcpy(&out, r, 4);
    return out;
}

/* Each form writes src ^ key to dst (dst == src, or no overlap) and answers 0x80 if any byte written is above
   0x7f, else 0: whether text is ASCII is known without another pass over it. */
static inline uint8_t ew_mask_words(uint8_t *dst, const uint8_t *src, size_t n, uint32_t key)
{
    uint64_t key8 = ((uint64_t)key << 32) | key, seen = 0, word;
    uint8_t k[4], rest = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, src + i, 8);
        word ^= key8;
        seen |= word;
        memcpy(dst + i, &word, 8);
    }
    memcpy(k, &key, 4);
    for (; i < n; i++)
        rest |= dst[i] = src[i] ^ k[i & 3];
    return ((seen & 0x8080808080808080ull) ? 0x80 : 0) | (rest & 0x80);
}

#ifdef EW_X86
static EW_UNUSED uint8_t ew_mask_sse2(uint8_t *dst, const uint8_t *src, size_t n, uint32_t key)
{
    const __m128i k = _mm_set1_epi32((int)key);
    __m128i seen = _mm_setzero_si128();
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m128i a = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(src + i)), k);
        __m128i b = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(src + i + 16)), k);
        seen = _mm_or_si128(seen, _mm_or_si128(a, b));
        _mm_storeu_si128((__m128i *)(dst + i), a);
        _mm_storeu_si128((__m128i *)(dst + i + 16), b);
    }
    return (_mm_movemask_epi8(seen) ? 0x80 : 0) | ew_mask_words(dst + i, src + i, n - i, key);
}

EW_TARGET("avx2") static EW_UNUSED uint8_t ew_mask_avx2(uint8_t *dst, const uint8_t *src, size_t n, uint32_t key)
{
    const __m256i k = _mm256_set1_epi32((int)key);
    __m256i seen = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m256i a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(src + i)), k);
        __m256i b = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(src + i + 32)), k);
        seen = _mm256_or_si256(seen, _mm256_or_si256(a, b));
        _mm256_storeu_si256((__m256i *)(dst + i), a);
        _mm256_storeu_si256((__m256i *)(dst + i + 32), b);
    }
    return (_mm256_movemask_epi8(seen) ? 0x80 : 0) | ew_mask_words(dst + i, src + i, n - i, key);
}

/* How many of the first n bytes, in whole blocks, are ASCII. */
EW_TARGET("avx2") static EW_UNUSED size_t ew_ascii_avx2(const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(p + i + 32));
        if (_mm256_movemask_epi8(_mm256_or_si256(a, b)))
            break;
    }
    return i;
}
#endif

#ifdef EW_NEON
static EW_UNUSED uint8_t ew_mask_neon(uint8_t *dst, const uint8_t *src, size_t n, uint32_t key)
{
    const uint8x16_t k = vreinterpretq_u8_u32(vdupq_n_u32(key));
    uint8x16_t seen = vdupq_n_u8(0);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        uint8x16_t a = veorq_u8(vld1q_u8(src + i), k), b = veorq_u8(vld1q_u8(src + i + 16), k);
        seen = vorrq_u8(seen, vorrq_u8(a, b));
        vst1q_u8(dst + i, a);
        vst1q_u8(dst + i + 16, b);
    }
    return (vmaxvq_u8(seen) & 0x80) | ew_mask_words(dst + i, src + i, n - i, key);
}
#endif

static EW_UNUSED size_t ew_ascii_words(const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint64_t word;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, p + i, 8);
        if (word & 0x8080808080808080ull)
            break;
    }
    return i;
}

typedef uint8_t (*ew_mask_fn)(uint8_t *, const uint8_t *, size_t, uint32_t);
typedef size_t (*ew_ascii_fn)(const uint8_t *, size_t);

static ew_mask_fn ew_mask_best = NULL;
static ew_ascii_fn ew_ascii_best = NULL;
static const char *ew_kernel_name = "";

static EW_UNUSED void ew_kernels_choose(void)
{
    ew_ascii_fn ascii = ew_ascii_words;
    ew_mask_fn mask = ew_mask_words;
    ew_kernel_name = "words";
#ifdef EW_X86
    mask = ew_mask_sse2;
    ew_kernel_name = "sse2";
#if defined(__GNUC__) || defined(__clang__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        mask = ew_mask_avx2;
        ascii = ew_ascii_avx2;
        ew_kernel_name = "avx2";
    }
#endif
#endif
#ifdef EW_NEON
    mask = ew_mask_neon;
    ew_kernel_name = "neon";
#endif
    ew_ascii_best = ascii;
    ew_mask_best = mask;
}

/* dst = src ^ key, where src[0] is at offset `phase` of the payload. Answers 0x80 or 0 (see above). */
static inline uint8_t ew_mask(uint8_t *dst, const uint8_t *src, size_t n, uint32_t key, size_t phase)
{
    if (phase & 3)
        key = ew_rotate_key(key, phase);
    if (n < 128)
        return ew_mask_words(dst, src, n, key);
    if (!ew_mask_best)
        ew_kernels_choose();
    return ew_mask_best(dst, src, n, key);
}

/* dst = src, with the same answer: masking with no key. */
static inline uint8_t ew_copy(uint8_t *dst, const uint8_t *src, size_t n)
{
    return ew_mask(dst, src, n, 0, 0);
}

/* UTF-8, checked as it arrives: the state is how many continuation bytes are due and the range of the next one. */
typedef struct {
    uint8_t due, low, high;
} ew_utf8;

/* Answers 1 if the n bytes may go on the text so far, 0 at the first byte that cannot. */
static EW_UNUSED int ew_utf8_feed(ew_utf8 *s, const uint8_t *p, size_t n)
{
    size_t i = 0;
    uint8_t c;
    if (!ew_ascii_best)
        ew_kernels_choose();
    while (i < n) {
        if (!s->due) {
            if (n - i >= 8)
                i += n - i >= 64 ? ew_ascii_best(p + i, n - i) : ew_ascii_words(p + i, n - i);
            if (i == n)
                break;
            c = p[i++];
            if (c < 0x80)
                continue;
            s->low = 0x80;
            s->high = 0xbf;
            if (c >= 0xc2 && c <= 0xdf) {
                s->due = 1;
            } else if (c >= 0xe0 && c <= 0xef) {
                s->due = 2;
                if (c == 0xe0)
                    s->low = 0xa0; /* shorter forms exist */
                if (c == 0xed)
                    s->high = 0x9f; /* surrogates */
            } else if (c >= 0xf0 && c <= 0xf4) {
                s->due = 3;
                if (c == 0xf0)
                    s->low = 0x90;
                if (c == 0xf4)
                    s->high = 0x8f; /* above U+10FFFF */
            } else {
                return 0;
            }
        } else {
            c = p[i++];
            if (c < s->low || c > s->high)
                return 0;
            s->due--;
            s->low = 0x80;
            s->high = 0xbf;
        }
    }
    return 1;
}

#endif
