/* The gradients of one filter a channel, of 3 x 3 or 5 x 5 at a stride of 1 or 2: a row of what arrives meets a row of
   the maps, and both gradients are had from that. */

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "norm.h"

#define WIDEST 5
#define EACH_COLUMN _Pragma("GCC unroll 5") for (int t = 0; t < side; t++) /* of the filter: kept in registers */

typedef struct {
    long half, threads, clipped, side, stride;
    long above, before; /* rows and columns of zeros; on the other sides of the maps are as many as are needed */
    long pictures, channels, height, width, rows, columns; /* of the maps, and of what came out */
} filtering;

/* A row of what arrives, a padded row of maps and the row of the filter between them: add to the gradients of the two
   latter. */
COPIED void meet(int side, int stride, const filtering *f, const float *arriving, const float *maps,
                 const float *filter, float *of_maps, float *of_filter)
{
    long channels = f->channels;
    for (long k = 0; k < channels; k += LANES) {
        lanes weight[WIDEST], of_weight[WIDEST], reached[WIDEST]; /* reached: by the filter where it lies now */
        EACH_COLUMN {
            weight[t] = load(0, filter, t * channels + k);
            of_weight[t] = reached[t] = (lanes){0};
        }
        long at = k;
        for (long column = 0; column < f->columns; column++, at += stride * channels) {
            lanes slope = load(0, arriving, column * channels + k);
            EACH_COLUMN {
                of_weight[t] += slope * load(0, maps, at + t * channels);
                reached[t] += slope * weight[t];
            }
            EACH_COLUMN if (t < stride) /* it moves on from these */
                store(0, of_maps, at + t * channels, load(0, of_maps, at + t * channels) + reached[t]);
            EACH_COLUMN reached[t] = t + stride < side ? reached[t + stride] : (lanes){0};
        }
        EACH_COLUMN {
            if (t + stride < side)
                store(0, of_maps, at + t * channels, load(0, of_maps, at + t * channels) + reached[t]);
            store(0, of_filter, t * channels + k, load(0, of_filter, t * channels + k) + of_weight[t]);
        }
    }
}

static void meet_as_asked(const filtering *f, const float *arriving, const float *maps, const float *filter,
                          float *of_maps, float *of_filter)
{
    if (f->side == 3 && f->stride == 1)
        meet(3, 1, f, arriving, maps, filter, of_maps, of_filter);
    else if (f->side == 3)
        meet(3, 2, f, arriving, maps, filter, of_maps, of_filter);
    else if (f->stride == 1)
        meet(5, 1, f, arriving, maps, filter, of_maps, of_filter);
    else
        meet(5, 2, f, arriving, maps, filter, of_maps, of_filter);
}

/* A row of n numbers, from place `from` on, in float. With `x`, the answer of the filters, the numbers arrive for the
   norm after them, and what is written arrives for x. */
COPIED void widen(int half, const void *numbers, const norm *after, const found *known, const void *x, long from,
                  long n, long channels, float *to)
{
    for (long i = 0; i < n; i += channels)
        for (long k = 0; k < channels; k += LANES) {
            lanes values = load(half, numbers, from + i + k);
            if (x)
                values = given_back(values, load(half, x, from + i + k) - load(0, known->mean, k), after, known, k);
            store(0, to, i + k, values);
        }
}

/* Back to the maps' own precision; 0 where the maps were clipped */
COPIED void narrow(int half, const filtering *f, const float *maps, const float *row, long n, void *to, long from)
{
    for (long i = 0; i < n; i += LANES) {
        lanes pixels = load(0, maps, i), values = load(0, row, i);
        if (f->clipped)
            values = pick((bits)(pixels <= 0) | (bits)(pixels >= 6), (lanes){0}, values);
        store(half, to, from + i, values);
    }
}

COPIED void gradients(int half, const filtering *f, const void *maps, const void *arriving, const norm *after,
                      const void *x, const found *known, const float *filter, void *of_maps, float *of_filter)
{
    long row_in = f->width * f->channels, row_out = f->columns * f->channels, filter_row = f->side * f->channels;
    long margin = f->before * f->channels, padded = margin + row_in + filter_row;
    float *row = calloc(2 * padded + f->side * row_out, sizeof(float)), *of_row = row + padded, *kept = of_row + padded;
    long held[WIDEST] = {-1, -1, -1, -1, -1}; /* which rows of what arrives are kept */
#pragma omp for
    for (long n = 0; n < f->pictures * f->height; n++) {
        long picture = n / f->height, y = n % f->height;
        widen(half, maps, 0, 0, 0, n * row_in, row_in, f->channels, row + margin);
        memset(of_row, 0, padded * sizeof(float));
        for (long r = 0; r < f->side; r++) {
            long above = y + f->above - r, out = above / f->stride; /* the row that comes of this one by row r */
            if (above < 0 || above % f->stride || out >= f->rows)
                continue;
            long number = picture * f->rows + out, slot = number % f->side;
            float *arrived = kept + slot * row_out;
            if (held[slot] != number)
                widen(half, arriving, after, known, x, number * row_out, row_out, f->channels, arrived);
            held[slot] = number;
            meet_as_asked(f, arrived, row, filter + r * filter_row, of_row, of_filter + r * filter_row);
        }
        narrow(half, f, row + margin, of_row + margin, row_in, of_maps, n * row_in);
    }
    free(row);
}

/* filter: (side, side, channels); of_filter: (threads, side, side, channels) of zeros, to be added up. after, x, known:
   as in `widen`, or 0 */
void filter_gradients(const filtering *f, const void *maps, const void *arriving, const norm *after, const void *x,
                      float *known, const float *filter, void *of_maps, float *of_filter)
{
    found of_norm = found_in(known, f->channels);
#pragma omp parallel num_threads(f->threads)
    {
        float *mine = of_filter + f->side * f->side * f->channels * omp_get_thread_num();
        if (f->half && x)
            gradients(1, f, maps, arriving, after, x, &of_norm, filter, of_maps, mine);
        else if (f->half)
            gradients(1, f, maps, arriving, 0, 0, 0, filter, of_maps, mine);
        else if (x)
            gradients(0, f, maps, arriving, after, x, &of_norm, filter, of_maps, mine);
        else
            gradients(0, f, maps, arriving, 0, 0, 0, filter, of_maps, mine);
    }
}
