/* One filter a channel, of 3 x 3 or 5 x 5 at a stride of 1 or 2, between the norm before it and the norm after it, of
   which either may be missing (0). There: what is read is clipped by the norm before, and what is written is added up
   for the norm after. Back: a row of what arrives meets a row of the maps, and both gradients are had from that. */

#include <omp.h>

#include "norm.h"

#define WIDEST 5
#define EACH_COLUMN _Pragma("GCC unroll 5") for (int t = 0; t < side; t++) /* of the filter: kept in registers */
#define EACH_ROW _Pragma("GCC unroll 5") for (int r = 0; r < side; r++)
#define ENOUGH 64 /* pixels: as many are added up at a time, while they are in the cache */

typedef struct {
    long half, threads, side, stride;
    long above, before; /* rows and columns of zeros; on the other sides of the maps are as many as are needed */
    long pictures, channels, height, width, rows, columns; /* of the maps, and of what came out */
} filtering;

/* A norm beside the filters: which, what is known of it, and a thread's sums */
typedef struct {
    const norm *how;
    float *known;
    double *sums; /* (threads, 2, channels) */
} beside;

/* The part of `all` rows that is this thread's */
COPIED long share(long all, long thread)
{
    return all * thread / omp_get_num_threads();
}

/* Rows of n numbers in float: a few, each in its slot until another one needs it */
typedef struct {
    float *first;
    long size, margin, n, number[WIDEST]; /* margin: zeros before the numbers; which row is in each slot, or -1 */
} rows;

COPIED rows no_rows(float *first, long size, long margin, long n)
{
    return (rows){first, size, margin, n, {-1, -1, -1, -1, -1}};
}

/* A row of n numbers, from place `from` on, in float: as they are; clipped by the norm `by`; or, with its `x` (the
   answers of the filters), given back by it. */
COPIED void widen(int half, const void *numbers, const beside *by, const void *x, long from, long n, long channels,
                  float *to)
{
    if (!by->how) {
        for (long i = 0; i < n; i += LANES)
            store(0, to, i, load(half, numbers, from + i));
        return;
    }
    found known = found_in(by->known, channels);
    for (long i = 0; i < n; i += channels)
        for (long k = 0; k < channels; k += LANES) {
            lanes values = load(half, numbers, from + i + k), mean = load(0, known.mean, k);
            if (x)
                values = given_back(values, load(half, x, from + i + k) - mean, by->how, &known, k);
            else
                values = clipped(values - mean, by->how, &known, k);
            store(0, to, i + k, values);
        }
}

/* Row `number` of all pictures' rows, widened unless it is there */
COPIED float *row_of(rows *kept, int half, long slots, long number, const void *numbers, const beside *by,
                     const void *x, long channels)
{
    long slot = number % slots;
    float *place = kept->first + slot * kept->size;
    if (kept->number[slot] != number)
        widen(half, numbers, by, x, number * kept->n, kept->n, channels, place + kept->margin);
    kept->number[slot] = number;
    return place;
}

/* A row of answers from the padded rows of maps that the filter lies over; `half` as they are written */
COPIED void answer(int side, int stride, int half, const filtering *f, const float *const *maps, const float *filter,
                   void *answers, long from)
{
    long channels = f->channels;
    for (long k = 0; k < channels; k += LANES) {
        lanes weight[WIDEST * WIDEST];
        EACH_ROW EACH_COLUMN weight[r * side + t] = load(0, filter, (r * side + t) * channels + k);
        long at = k;
        for (long column = 0; column < f->columns; column++, at += stride * channels) {
            lanes sum = {0};
            EACH_ROW EACH_COLUMN sum += weight[r * side + t] * load(0, maps[r], at + t * channels);
            store(half, answers, from + column * channels + k, sum);
        }
    }
}

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

COPIED void answer_as_asked(int half, const filtering *f, const float *const *maps, const float *filter, void *answers,
                            long from)
{
    if (f->side == 3 && f->stride == 1)
        answer(3, 1, half, f, maps, filter, answers, from);
    else if (f->side == 3)
        answer(3, 2, half, f, maps, filter, answers, from);
    else if (f->stride == 1)
        answer(5, 1, half, f, maps, filter, answers, from);
    else
        answer(5, 2, half, f, maps, filter, answers, from);
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

/* Add up, for a norm, the pixels of all rows before `end` that have not been yet, if they are enough or the last. */
COPIED long added_up(const beside *by, const void *x, const void *arriving, long channels, long columns, long first,
                     long end, int last)
{
    if (!by->how || (!last && (end - first) * columns < ENOUGH))
        return first;
    found known = found_in(by->known, channels);
    double *mine = by->sums + 2 * channels * omp_get_thread_num();
    norm_add_up_some(by->how, x, arriving, &known, first * columns, end * columns, mine);
    return end;
}

COPIED void answers_of(int half, const filtering *f, const void *maps, const beside *before, const float *filter,
                       void *answers, const beside *after)
{
    long row_in = f->width * f->channels, row_out = f->columns * f->channels, filter_row = f->side * f->channels;
    long margin = f->before * f->channels, padded = margin + row_in + filter_row;
    float *room = zeros((f->side + 1) * padded), *nothing = room + f->side * padded;
    rows kept = no_rows(room, padded, margin, row_in);
    long all = f->pictures * f->rows, me = omp_get_thread_num(), first = share(all, me), last = share(all, me + 1);
    for (long n = first; n < last; n++) {
        long picture = n / f->rows, top = n % f->rows * f->stride - f->above;
        const float *met[WIDEST];
        for (long r = 0; r < f->side; r++) {
            int outside = top + r < 0 || top + r >= f->height;
            long number = picture * f->height + top + r;
            met[r] = outside ? nothing : row_of(&kept, half, f->side, number, maps, before, 0, f->channels);
        }
        answer_as_asked(half, f, met, filter, answers, n * row_out);
        first = added_up(after, answers, 0, f->channels, f->columns, first, n + 1, n + 1 == last);
    }
    free(room);
}

/* Back to the maps' own precision. With `of_bias`, 0 where the maps were clipped, and added up there. */
COPIED void narrow(int half, long channels, const float *maps, const float *row, long n, void *to, long from,
                   double *of_bias)
{
    for (long k = 0; k < channels; k += LANES) {
        lanes sum = {0};
        for (long i = k; i < n; i += channels) {
            lanes pixels = load(0, maps, i), values = load(0, row, i);
            if (of_bias)
                values = pick((bits)(pixels <= 0) | (bits)(pixels >= 6), (lanes){0}, values);
            sum += values;
            store(half, to, from + i, values);
        }
        for (int lane = 0; of_bias && lane < LANES; lane++)
            of_bias[k + lane] += sum[lane];
    }
}

COPIED void gradients_of(int half, const filtering *f, const void *maps, const beside *before, const void *arriving,
                         const beside *after, const void *answers, const float *filter, void *of_maps,
                         float *of_filter, double *of_bias)
{
    long row_in = f->width * f->channels, row_out = f->columns * f->channels, filter_row = f->side * f->channels;
    long margin = f->before * f->channels, padded = margin + row_in + filter_row;
    float *room = zeros(2 * padded + f->side * row_out), *row = room, *of_row = room + padded;
    rows kept = no_rows(room + 2 * padded, row_out, 0, row_out);
    long all = f->pictures * f->height, me = omp_get_thread_num(), first = share(all, me), last = share(all, me + 1);
    for (long n = first; n < last; n++) {
        long picture = n / f->height, y = n % f->height;
        widen(half, maps, before, 0, n * row_in, row_in, f->channels, row + margin);
        memset(of_row, 0, padded * sizeof(float));
        for (long r = 0; r < f->side; r++) {
            long above = y + f->above - r, out = above / f->stride; /* the row that comes of this one by row r */
            if (above < 0 || above % f->stride || out >= f->rows)
                continue;
            long number = picture * f->rows + out;
            const float *arrived = row_of(&kept, half, f->side, number, arriving, after, answers, f->channels);
            meet_as_asked(f, arrived, row, filter + r * filter_row, of_row, of_filter + r * filter_row);
        }
        narrow(half, f->channels, row + margin, of_row + margin, row_in, of_maps, n * row_in, of_bias);
        first = added_up(before, maps, of_maps, f->channels, f->width, first, n + 1, n + 1 == last);
    }
    free(room);
}

/* filter: (side, side, channels). */
void filter_answers(const filtering *f, const void *maps, const norm *before, float *known_before, const float *filter,
                    void *answers, const norm *after, float *known_after, double *sums_after)
{
    beside left = {before, known_before, 0}, right = {after, known_after, sums_after};
#pragma omp parallel num_threads(f->threads)
    {
        if (f->half)
            answers_of(1, f, maps, &left, filter, answers, &right);
        else
            answers_of(0, f, maps, &left, filter, answers, &right);
    }
}

/* arriving: for what comes out of the norm after the filters, if there is one. of_maps: for what comes out of the norm
   before them, if there is one. of_filter: (threads, side, side, channels) of zeros, to be added up. of_bias: if the
   maps come from a ReLU6 without a norm, and what came into that is asked for, (threads, channels) of zeros; else 0 */
void filter_gradients(const filtering *f, const void *maps, const norm *before, float *known_before,
                      double *sums_before, const void *arriving, const norm *after, float *known_after,
                      const void *answers, const float *filter, void *of_maps, float *of_filter, double *of_bias)
{
    beside left = {before, known_before, sums_before}, right = {after, known_after, 0};
#pragma omp parallel num_threads(f->threads)
    {
        long me = omp_get_thread_num();
        float *mine = of_filter + f->side * f->side * f->channels * me;
        double *bias = of_bias ? of_bias + f->channels * me : 0;
        if (f->half)
            gradients_of(1, f, maps, &left, arriving, &right, answers, filter, of_maps, mine, bias);
        else
            gradients_of(0, f, maps, &left, arriving, &right, answers, filter, of_maps, mine, bias);
    }
}
