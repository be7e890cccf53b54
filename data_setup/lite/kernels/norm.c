/* BatchNorm and the clipping after it as one: y = clip(scale (x - mean) + beta), scale = gamma / deviation. Each way takes
   two passes over the maps, one for the sums of each channel and one for what comes out. */

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"

#define ROWS 4    /* pixels at a time where channels are added up: fewer, and the sums are fetched too often */
#define CHUNK 256 /* pixels that are added up in float */

typedef struct {
    long half, threads, pixels, channels;
    float low, high, momentum, epsilon;
} norm;

typedef struct {
    float *scale, *beta, *mean, *inverse; /* a number each for a channel; inverse: 1 / deviation */
} found;

COPIED lanes unclipped(lanes from_mean, const found *f, long k)
{
    return from_mean * load(0, f->scale, k) + load(0, f->beta, k);
}

/* What arrives where nothing was clipped, and 0 elsewhere */
COPIED lanes slope(lanes arriving, lanes from_mean, const norm *n, const found *f, long k)
{
    lanes u = unclipped(from_mean, f, k);
    return pick((bits)(u <= n->low) | (bits)(u >= n->high), (lanes){0}, arriving);
}

/* Add to `sums`, (2, channels), over the pixels from `first` to `last`: x - mean and its square, where the mean is only
   roughly known yet; or, with what arrives, its slopes and these times x - mean. */
COPIED void add_up(int half, const norm *n, const void *x, const void *arriving, const found *f, long first, long last,
                   double *sums)
{
    long channels = n->channels;
    float *near = malloc(2 * channels * sizeof(float));
    for (long chunk = first, end; chunk < last; chunk = end) {
        end = chunk + CHUNK < last ? chunk + CHUNK : last;
        memset(near, 0, 2 * channels * sizeof(float));
        for (long row = chunk; row < end; row += ROWS)
            for (long k = 0; k < channels; k += LANES) {
                lanes sum_a = load(0, near, k), sum_b = load(0, near, channels + k);
                for (long i = row; i < row + ROWS && i < end; i++) {
                    lanes from_mean = load(half, x, i * channels + k) - load(0, f->mean, k), one = from_mean;
                    if (arriving)
                        one = slope(load(half, arriving, i * channels + k), from_mean, n, f, k);
                    sum_a += one;
                    sum_b += one * from_mean;
                }
                store(0, near, k, sum_a);
                store(0, near, channels + k, sum_b);
            }
        for (long j = 0; j < 2 * channels; j++)
            sums[j] += near[j];
    }
    free(near);
}

COPIED void clip(int half, const norm *n, const void *x, const found *f, long first, long last, void *y)
{
    for (long i = first; i < last; i++)
        for (long k = 0; k < n->channels; k += LANES) {
            long at = i * n->channels + k;
            lanes u = unclipped(load(half, x, at) - load(0, f->mean, k), f, k);
            u = pick((bits)(u < n->low), n->low - (lanes){0}, u);
            store(half, y, at, pick((bits)(u > n->high), n->high - (lanes){0}, u));
        }
}

/* scale slope + by_x (x - mean) + fixed: the two latter are what x does to the deviation and to the mean */
COPIED void give_back(int half, const norm *n, const void *x, const void *arriving, const found *f, const float *by_x,
                      const float *fixed, long first, long last, void *of_x)
{
    for (long i = first; i < last; i++)
        for (long k = 0; k < n->channels; k += LANES) {
            long at = i * n->channels + k;
            lanes from_mean = load(half, x, at) - load(0, f->mean, k);
            lanes passed = slope(load(half, arriving, at), from_mean, n, f, k);
            store(half, of_x, at, load(0, f->scale, k) * passed + load(0, by_x, k) * from_mean + load(0, fixed, k));
        }
}

static double total(const norm *n, const double *sums, long j)
{
    double sum = 0;
    for (long thread = 0; thread < n->threads; thread++)
        sum += sums[2 * n->channels * thread + j];
    return sum;
}

static void know(const norm *n, const double *sums, const float *gamma, const float *beta, found *f, float *running_mean,
                 float *running_variance)
{
    for (long j = 0; j < n->channels; j++) {
        double from_first = total(n, sums, j) / n->pixels;
        double variance = total(n, sums, n->channels + j) / n->pixels - from_first * from_first;
        f->mean[j] += from_first;
        f->inverse[j] = 1 / sqrt(variance + n->epsilon);
        f->scale[j] = gamma[j] * f->inverse[j];
        f->beta[j] = beta[j];
        running_mean[j] += n->momentum * (f->mean[j] - running_mean[j]);
        running_variance[j] += n->momentum * (variance * n->pixels / (n->pixels - 1) - running_variance[j]);
    }
}

/* y, and what `found` (4, channels) holds; sums: (threads, 2, channels) of zeros */
void norm_forward(const norm *n, const void *x, const float *gamma, const float *beta, float *running_mean,
                  float *running_variance, float *known, double *sums, void *y)
{
    long c = n->channels;
    found f = {known, known + c, known + 2 * c, known + 3 * c};
    for (long k = 0; k < c; k += LANES)
        store(0, f.mean, k, n->half ? load(1, x, k) : load(0, x, k)); /* the first pixel's: differences lose nothing */
#pragma omp parallel num_threads(n->threads)
    {
        long me = omp_get_thread_num(), all = omp_get_num_threads();
        long first = n->pixels * me / all, last = n->pixels * (me + 1) / all;
        if (n->half)
            add_up(1, n, x, 0, &f, first, last, sums + 2 * c * me);
        else
            add_up(0, n, x, 0, &f, first, last, sums + 2 * c * me);
#pragma omp barrier
#pragma omp single
        know(n, sums, gamma, beta, &f, running_mean, running_variance);
        if (n->half)
            clip(1, n, x, &f, first, last, y);
        else
            clip(0, n, x, &f, first, last, y);
    }
}

/* The gradients of x, gamma and beta. work: (2, channels) */
void norm_backward(const norm *n, const void *x, const void *arriving, float *known, double *sums, float *work, void *of_x,
                   float *of_gamma, float *of_beta)
{
    long c = n->channels;
    found f = {known, known + c, known + 2 * c, known + 3 * c};
    float *by_x = work, *fixed = work + c;
#pragma omp parallel num_threads(n->threads)
    {
        long me = omp_get_thread_num(), all = omp_get_num_threads();
        long first = n->pixels * me / all, last = n->pixels * (me + 1) / all;
        if (n->half)
            add_up(1, n, x, arriving, &f, first, last, sums + 2 * c * me);
        else
            add_up(0, n, x, arriving, &f, first, last, sums + 2 * c * me);
#pragma omp barrier
#pragma omp single
        for (long j = 0; j < c; j++) {
            of_beta[j] = total(n, sums, j);
            of_gamma[j] = total(n, sums, c + j) * f.inverse[j];
            by_x[j] = -f.scale[j] * f.inverse[j] * of_gamma[j] / n->pixels;
            fixed[j] = -f.scale[j] * of_beta[j] / n->pixels;
        }
        if (n->half)
            give_back(1, n, x, arriving, &f, by_x, fixed, first, last, of_x);
        else
            give_back(0, n, x, arriving, &f, by_x, fixed, first, last, of_x);
    }
}
