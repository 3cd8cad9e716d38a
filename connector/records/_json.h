/*
 * What the compiled forms need of JSON (RFC 8259): to go over a string or a number, and to refuse what is none.
 *
 * Positions are in bytes from *p* to before *end*.  Nothing here needs the interpreter's lock.
 */

#ifndef MURMURATION_JSON_H
#define MURMURATION_JSON_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef struct {
    const uint8_t *bytes;
    Py_ssize_t size;
} Slice;

/* The most digits of an id. */
#define MAX_DIGITS 19

/* Returns the position after the UTF-8 sequence at *p* (Unicode 15, table 3-7), or NULL if it is invalid. */
static inline const uint8_t *
skip_multibyte(const uint8_t *p, const uint8_t *end)
{
    uint8_t first = *p;
    if (first >= 0xC2 && first <= 0xDF)
        return end - p >= 2 && (p[1] & 0xC0) == 0x80 ? p + 2 : NULL;
    if ((first & 0xF0) == 0xE0) {
        uint8_t low = first == 0xE0 ? 0xA0 : 0x80, high = first == 0xED ? 0x9F : 0xBF;
        return end - p >= 3 && p[1] >= low && p[1] <= high && (p[2] & 0xC0) == 0x80 ? p + 3 : NULL;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        uint8_t low = first == 0xF0 ? 0x90 : 0x80, high = first == 0xF4 ? 0x8F : 0xBF;
        return end - p >= 4 && p[1] >= low && p[1] <= high && (p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80 ? p + 4
                                                                                                            : NULL;
    }
    return NULL;
}

static inline int
is_hex(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
}

/* Returns the position after the string whose first character is at *p*, or NULL; sets *escaped* for a backslash. */
static inline const uint8_t *
skip_string(const uint8_t *p, const uint8_t *end, int *escaped)
{
    for (;;) {
#ifdef __SSE2__
        while (end - p >= 16) {
            __m128i sixteen = _mm_loadu_si128((const __m128i *)p);
            /* as signed bytes, those from 0x80 on are also below the space */
            __m128i special = _mm_or_si128(_mm_cmplt_epi8(sixteen, _mm_set1_epi8(0x20)),
                                           _mm_or_si128(_mm_cmpeq_epi8(sixteen, _mm_set1_epi8('"')),
                                                        _mm_cmpeq_epi8(sixteen, _mm_set1_epi8('\\'))));
            int where = _mm_movemask_epi8(special);
            if (where) {
                p += __builtin_ctz((unsigned)where);
                break;
            }
            p += 16;
        }
#endif
        if (p >= end)
            return NULL;
        uint8_t byte = *p;
        if (byte == '"')
            return p + 1;
        if (byte < 0x20)
            return NULL;
        if (byte >= 0x80) {
            do {
                if (!(p = skip_multibyte(p, end)))
                    return NULL;
            } while (p < end && *p >= 0x80);
        }
        else if (byte == '\\') {
            *escaped = 1;
            if (end - p < 2)
                return NULL;
            if (p[1] == 'u') {
                if (end - p < 6 || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
                    return NULL;
                p += 6;
            }
            else if (p[1] && strchr("\"\\/bfnrt", p[1]))
                p += 2;
            else
                return NULL;
        }
        else
            p++;
    }
}

static inline const uint8_t *
skip_spaces(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

static inline const uint8_t *
skip_digits(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Returns the position after the number at *p*, or NULL if there is none. */
static inline const uint8_t *
skip_number(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *digits = *p == '-' ? p + 1 : p;
    p = skip_digits(digits, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    if (p < end && *p == '.') {
        digits = p + 1;
        if ((p = skip_digits(digits, end)) == digits)
            return NULL;
    }
    if (p < end && (*p | 0x20) == 'e') {
        digits = p + 1;
        if (digits < end && (*digits == '+' || *digits == '-'))
            digits++;
        if ((p = skip_digits(digits, end)) == digits)
            return NULL;
    }
    return p;
}

static inline const uint8_t *
skip_word(const uint8_t *p, const uint8_t *end, const char *word)
{
    size_t size = strlen(word);
    return (size_t)(end - p) >= size && !memcmp(p, word, size) ? p + size : NULL;
}

/* Returns the position after the true, false, null or number at *p*, or NULL if there is none. */
static inline const uint8_t *
skip_plain(const uint8_t *p, const uint8_t *end)
{
    switch (*p) {
    case 't': return skip_word(p, end, "true");
    case 'f': return skip_word(p, end, "false");
    case 'n': return skip_word(p, end, "null");
    default: return skip_number(p, end);
    }
}

/* Returns the number with at most MAX_DIGITS *digits*. */
static inline uint64_t
number_of(Slice digits)
{
    uint64_t number = 0;
    for (Py_ssize_t i = 0; i < digits.size; i++)
        number = number * 10 + (digits.bytes[i] - '0');
    return number;
}

#endif
