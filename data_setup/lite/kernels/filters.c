/* The gradients of one filter a channel, of 3 x 3 or 5 x 5 at a stride of 1 or 2: a row of what arrives meets a row of the
   maps, and both gradients are had from that. */

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"

#define WIDEST 5
#define EACH_COLUMN _Pragma("GCC unroll 5") for (int t = 0; t < side; t++) /* of the filter: kept in registers */

typedef struct {
    long half, threads, side, stride, padding, pictures, channels;
    long height, width, rows, columns; /* of the maps, and of what came out */
} filtering;

/* The row of what arrives that begins at `from`, a padded row of maps and the row of the filter between them: add to the
   gradients of the two latter, all in float. */
COPIED void meet(int half, int side, int stride, const filtering *f, const void *arriving, long from, const float *maps,
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
            lanes slope = load(half, arriving, from + column * channels + k);
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

COPIED void meet_as_asked(int half, const filtering *f, const void *arriving, long from, const float *maps,
                          const float *filter, float *of_maps, float *of_filter)
{
    if (f->side == 3 && f->stride == 1)
        meet(half, 3, 1, f, arriving, from, maps, filter, of_maps, of_filter);
    else if (f->side == 3)
        meet(half, 3, 2, f, arriving, from, maps, filter, of_maps, of_filter);
    else if (f->stride == 1)
        meet(half, 5, 1, f, arriving, from, maps, filter, of_maps, of_filter);
    else
        meet(half, 5, 2, f, arriving, from, maps, filter, of_maps, of_filter);
}

/* n numbers from place `from` on, in float */
static void widen(const filtering *f, const void *row, long from, long n, float *to)
{
    if (f->half)
        for (long i = 0; i < n; i += LANES)
            store(0, to, i, load(1, row, from + i));
    else
        memcpy(to, (const float *)row + from, n * sizeof(float));
}

static void narrow(const filtering *f, const float *row, long n, void *to, long from)
{
    if (f->half)
        for (long i = 0; i < n; i += LANES)
            store(1, to, from + i, load(0, row, i));
    else
        memcpy((float *)to + from, row, n * sizeof(float));
}

/* filter: (side, side, channels); of_filter: (threads, side, side, channels) of zeros, to be added up */
void filter_gradients(const filtering *f, const void *maps, const void *arriving, const float *filter, void *of_maps,
                      float *of_filter)
{
    long row_in = f->width * f->channels, row_out = f->columns * f->channels, filter_row = f->side * f->channels;
    long margin = f->padding * f->channels, padded = row_in + 2 * margin;
#pragma omp parallel num_threads(f->threads)
    {
        float *row = calloc(2 * padded, sizeof(float)), *of_row = row + padded;
        float *mine = of_filter + f->side * filter_row * omp_get_thread_num();
#pragma omp for
        for (long n = 0; n < f->pictures * f->height; n++) {
            long picture = n / f->height, y = n % f->height;
            widen(f, maps, n * row_in, row_in, row + margin);
            memset(of_row, 0, padded * sizeof(float));
            for (long r = 0; r < f->side; r++) {
                long above = y + f->padding - r, out = above / f->stride; /* the row that comes of this one by row r */
                if (above < 0 || above % f->stride || out >= f->rows)
                    continue;
                long from = (picture * f->rows + out) * row_out;
                if (f->half)
                    meet_as_asked(1, f, arriving, from, row, filter + r * filter_row, of_row, mine + r * filter_row);
                else
                    meet_as_asked(0, f, arriving, from, row, filter + r * filter_row, of_row, mine + r * filter_row);
            }
            narrow(f, of_row + margin, row_in, of_maps, n * row_in);
        }
        free(row);
    }
}
