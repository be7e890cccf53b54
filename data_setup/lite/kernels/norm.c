/* Each way takes two passes over the maps, one for the sums of each channel and one for what comes out. A pass takes
   some of the pictures at a time, so that another layer can work on them while they are in the cache. */

#include <math.h>
#include <omp.h>

#include "norm.h"

#define ROWS 4    /* pixels at a time where channels are added up: fewer, and the sums are fetched too often */
#define CHUNK 256 /* pixels that are added up in float */

COPIED void add_up(int half, const norm *n, const void *x, const void *arriving, const found *f, long first, long last,
                   double *sums)
{
    long channels = n->channels, whole = channels / LANES * LANES, padded = (channels + LANES - 1) / LANES * LANES;
    float *near = zeros(2 * padded);
    for (long chunk = first, end; chunk < last; chunk = end) {
        end = chunk + CHUNK < last ? chunk + CHUNK : last;
        memset(near, 0, 2 * padded * sizeof(float));
        for (long row = chunk; row < end; row += ROWS)
            for (long k = 0; k < channels; k += LANES) {
                long at = begin(k, channels);
                lanes sum_a = load(0, near, k), sum_b = load(0, near, padded + k);
                for (long i = row; i < row + ROWS && i < end; i++) {
                    lanes from_mean = load(half, x, i * channels + at) - load(0, f->mean, at), one = from_mean;
                    if (arriving)
                        one = slope(load(half, arriving, i * channels + at), from_mean, n, f, at);
                    sum_a += one;
                    sum_b += one * from_mean;
                }
                store(0, near, k, sum_a);
                store(0, near, padded + k, sum_b);
            }
        for (long j = 0; j < padded; j++) {
            long channel = j < whole ? j : j - (padded - channels); /* the last lanes begin earlier */
            if (j >= whole && channel < whole)
                continue;
            sums[channel] += near[j];
            sums[channels + channel] += near[padded + j];
        }
    }
    free(near);
}

COPIED void clip(int half, const norm *n, const void *x, const found *f, long first, long last, void *y)
{
    for (long i = first; i < last; i++)
        for (long k = 0; k < n->channels; k += LANES) {
            long at = begin(k, n->channels), place = i * n->channels + at;
            store(half, y, place, clipped(load(half, x, place) - load(0, f->mean, at), n, f, at));
        }
}

COPIED void give_back(int half, const norm *n, const void *x, const void *arriving, const found *f, long first,
                      long last, void *of_x)
{
    for (long i = first; i < last; i++)
        for (long k = 0; k < n->channels; k += LANES) {
            long at = begin(k, n->channels), place = i * n->channels + at;
            lanes from_mean = load(half, x, place) - load(0, f->mean, at);
            store(half, of_x, place, given_back(load(half, arriving, place), from_mean, n, f, at));
        }
}

void norm_add_up_some(const norm *n, const void *x, const void *arriving, const found *f, long first, long last,
                      double *sums)
{
    if (n->half && arriving)
        add_up(1, n, x, arriving, f, first, last, sums);
    else if (n->half)
        add_up(1, n, x, 0, f, first, last, sums);
    else if (arriving)
        add_up(0, n, x, arriving, f, first, last, sums);
    else
        add_up(0, n, x, 0, f, first, last, sums);
}

/* sums: (threads, 2, channels) of doubles, to be added up */
void norm_add_up(const norm *n, long pixels, const void *x, const void *arriving, float *known, double *sums)
{
    found f = found_in(known, n->channels);
#pragma omp parallel num_threads(n->threads)
    {
        long me = omp_get_thread_num(), all = omp_get_num_threads();
        long first = pixels * me / all, last = pixels * (me + 1) / all;
        norm_add_up_some(n, x, arriving, &f, first, last, sums + 2 * n->channels * me);
    }
}

static double total(const norm *n, const double *sums, long j)
{
    double sum = 0;
    for (long thread = 0; thread < n->threads; thread++)
        sum += sums[2 * n->channels * thread + j];
    return sum;
}

/* From the sums of all pixels what is `known`, (6, channels), for the way there */
void norm_know(const norm *n, const double *sums, const float *gamma, const float *beta, float *running_mean,
               float *running_variance, float *known)
{
    found f = found_in(known, n->channels);
    for (long j = 0; j < n->channels; j++) {
        double from_first = total(n, sums, j) / n->pixels;
        double variance = total(n, sums, n->channels + j) / n->pixels - from_first * from_first;
        if (variance < 0) /* a rounding below it; what is no number stays none */
            variance = 0;
        f.mean[j] += from_first;
        f.inverse[j] = 1 / sqrt(variance + n->epsilon);
        f.scale[j] = gamma[j] * f.inverse[j];
        f.beta[j] = beta[j];
        running_mean[j] += n->momentum * (f.mean[j] - running_mean[j]);
        running_variance[j] += n->momentum * (variance * n->pixels / (n->pixels - 1) - running_variance[j]);
    }
}

/* And for the way back; with it the gradients of gamma and beta */
void norm_know_back(const norm *n, const double *sums, float *known, float *of_gamma, float *of_beta)
{
    found f = found_in(known, n->channels);
    for (long j = 0; j < n->channels; j++) {
        of_beta[j] = total(n, sums, j);
        of_gamma[j] = total(n, sums, n->channels + j) * f.inverse[j];
        f.by_x[j] = -f.scale[j] * f.inverse[j] * of_gamma[j] / n->pixels;
        f.fixed[j] = -f.scale[j] * of_beta[j] / n->pixels;
    }
}

void norm_clip(const norm *n, long pixels, const void *x, float *known, void *y)
{
    found f = found_in(known, n->channels);
#pragma omp parallel num_threads(n->threads)
    {
        long me = omp_get_thread_num(), all = omp_get_num_threads();
        long first = pixels * me / all, last = pixels * (me + 1) / all;
        if (n->half)
            clip(1, n, x, &f, first, last, y);
        else
            clip(0, n, x, &f, first, last, y);
    }
}

void norm_give_back(const norm *n, long pixels, const void *x, const void *arriving, float *known, void *of_x)
{
    found f = found_in(known, n->channels);
#pragma omp parallel num_threads(n->threads)
    {
        long me = omp_get_thread_num(), all = omp_get_num_threads();
        long first = pixels * me / all, last = pixels * (me + 1) / all;
        if (n->half)
            give_back(1, n, x, arriving, &f, first, last, of_x);
        else
            give_back(0, n, x, arriving, &f, first, last, of_x);
    }
}
