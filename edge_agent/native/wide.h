/* Exact sums of squares. Lengths and gaps are integers, so their sums are exact, and a variance is
 * rounded once, in its division. 64 bits do not hold the squares of gaps; 128-bit integers are not
 * in every compiler for 32-bit boards, so the two words are ours. */
#ifndef EDGE_IDS_WIDE_H
#define EDGE_IDS_WIDE_H

#include <math.h>
#include <stdint.h>

struct wide {
    uint64_t high, low;
};

static inline struct wide wide_product(uint64_t a, uint64_t b)
{
    const uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    const uint64_t low = al * bl, middle = ah * bl + (low >> 32),
                   other = al * bh + (uint32_t)middle;
    return (struct wide){ah * bh + (middle >> 32) + (other >> 32), other << 32 | (uint32_t)low};
}

static inline double wide_difference(struct wide a, struct wide b)
{
    const uint64_t low = a.low - b.low, high = a.high - b.high - (a.low < b.low);
    return (double)high * 0x1p64 + (double)low;
}

/* A sum of squares of numbers below 2^31 in size: 96 bits hold 2^34 of them. */
struct squares {
    uint64_t low;
    uint32_t high;
} __attribute__((packed, aligned(4))); /* a table has hundreds of thousands of them */

static inline void squares_add(struct squares *sum, int64_t value)
{
    const uint64_t square = (uint64_t)(value * value);
    sum->low += square;
    sum->high += sum->low < square;
}

static inline struct squares squares_sum(struct squares a, struct squares b)
{
    const uint64_t low = a.low + b.low;
    return (struct squares){low, a.high + b.high + (low < a.low)};
}

/* Sample variance (n Σx² - (Σx)²) / (n (n - 1)), 0 for n < 2. */
static inline double sample_variance(uint32_t n, int64_t total, struct squares squares)
{
    if (n < 2) return 0;
    struct wide scaled = wide_product(squares.low, n);
    scaled.high += (uint64_t)squares.high * n;
    const uint64_t size = total < 0 ? (uint64_t)-total : (uint64_t)total;
    return wide_difference(scaled, wide_product(size, size)) / ((double)n * (double)(n - 1));
}

#endif
