/* BatchNorm and the clipping after it as one: y = clip(scale (x - mean) + beta), scale = gamma / deviation. */

#include "lanes.h"

typedef struct {
    long half, threads, pixels, channels; /* pixels: of the whole batch */
    float low, high, momentum, epsilon;
} norm;

/* A number each for a channel. inverse: 1 / deviation; by_x, fixed: what x does to the deviation and to the mean */
typedef struct {
    float *scale, *beta, *mean, *inverse, *by_x, *fixed;
} found;

COPIED found found_in(float *known, long channels)
{
    return (found){known, known + channels, known + 2 * channels, known + 3 * channels, known + 4 * channels,
                   known + 5 * channels};
}

/* Where the lanes from channel k on are read: the last ones begin earlier where channels do not come in LANES */
COPIED long begin(long k, long channels)
{
    return k + LANES <= channels ? k : channels - LANES;
}

COPIED lanes unclipped(lanes from_mean, const found *f, long k)
{
    return from_mean * load(0, f->scale, k) + load(0, f->beta, k);
}

/* What comes out; what is no number stays none */
COPIED lanes clipped(lanes from_mean, const norm *n, const found *f, long k)
{
    lanes u = unclipped(from_mean, f, k);
    u = pick((bits)(u < n->low), n->low - (lanes){0}, u);
    return pick((bits)(u > n->high), n->high - (lanes){0}, u);
}

/* What arrives where nothing was clipped, and 0 elsewhere */
COPIED lanes slope(lanes arriving, lanes from_mean, const norm *n, const found *f, long k)
{
    lanes u = unclipped(from_mean, f, k);
    return pick((bits)(u <= n->low) | (bits)(u >= n->high), (lanes){0}, arriving);
}

/* The gradient of x */
COPIED lanes given_back(lanes arriving, lanes from_mean, const norm *n, const found *f, long k)
{
    lanes passed = slope(arriving, from_mean, n, f, k);
    return load(0, f->scale, k) * passed + load(0, f->by_x, k) * from_mean + load(0, f->fixed, k);
}

/* Add to `sums`, (2, channels), over the pixels from `first` to `last`: x - mean and its square, where the mean is only
   roughly known yet; or, with what arrives, its slopes and these times x - mean. */
void norm_add_up_some(const norm *n, const void *x, const void *arriving, const found *f, long first, long last,
                      double *sums);
