/* Some channels at a time, as many as a register holds. Maps lie in memory as (pictures, height, width, channels), in
   float or, if `half`, in bfloat16; all is computed in float, and long sums are added up in double. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define COPIED static inline __attribute__((always_inline)) /* one copy for each constant that a function is given */

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

COPIED lanes load(int half, const void *maps, long at)
{
    if (!half)
        return *(const lanes *)((const float *)maps + at);
    return (lanes)(__builtin_convertvector(*(const halves *)((const uint16_t *)maps + at), bits) << 16);
}

/* bfloat16 is the upper half of a float, rounded to the nearest, of two to the even one; what is no number stays so */
COPIED void store(int half, void *maps, long at, lanes values)
{
    if (!half) {
        *(lanes *)((float *)maps + at) = values;
        return;
    }
    bits all = (bits)values, none = (bits)(values != values);
    bits upper = (all + 0x7FFF + ((all >> 16) & 1)) >> 16;
    *(halves *)((uint16_t *)maps + at) = __builtin_convertvector((upper & ~none) | (none & 0x7FC0), halves);
}

/* `values` where `chosen` is all ones, `others` where it is 0 */
COPIED lanes pick(bits chosen, lanes values, lanes others)
{
    return (lanes)(((bits)values & chosen) | ((bits)others & ~chosen));
}

/* Zeros, where lanes begin with a line of the cache: else each would be in two. Whoever asks frees them. */
COPIED float *zeros(long n)
{
    long bytes = (n * sizeof(float) + 63) / 64 * 64;
    return memset(aligned_alloc(64, bytes), 0, bytes);
}
