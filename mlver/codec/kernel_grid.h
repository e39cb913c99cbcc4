/* The loops of kernel.c that put elements of WIDTH bytes on a grid: unsigned T, signed S. Included once for each width
 * but the largest, after kernel_width.h. All arithmetic is of 32 bits: steps are from 4 to some 33,000.
 */

#define BITS (8 * WIDTH)
#define SIGN ((u32)1 << (BITS - 1))

/* The elements of a block, or as many as there are of the last one, taken apart. */
typedef struct {
    u32 field[BLOCK], significand[BLOCK];
    T place[BLOCK]; /* signed */
} NAME(Apart);

/* The steps to expect of a block's elements, the first of which is number `from`. */
INLINE void NAME(steps)(const Grid *grid, i64 from, i64 size, int32_t *restrict steps)
{
    const int32_t level = grid->levels[from / BLOCK] + (int32_t)grid->origin;
    const i64 most = ((i64)QUARTERS << (BITS - 1 - grid->mantissa)) - 1;
    const int32_t last = most < MOST_STEP ? (int32_t)most : MOST_STEP;
    for (i64 i = 0; i < size; i++)
        steps[i] = level;
    if (grid->columns) {
        i64 column = from % grid->columns;
        for (i64 i = 0; i < size; i++) {
            steps[i] += grid->offsets[column];
            column = column + 1 < grid->columns ? column + 1 : 0;
        }
    }
    for (i64 i = 0; i < size; i++)
        steps[i] = steps[i] < QUARTERS ? QUARTERS : steps[i] > last ? last : steps[i];
}

INLINE void NAME(apart)(const T *restrict elements, const int32_t *restrict steps, int mantissa, i64 size,
                        NAME(Apart) * restrict to)
{
    const u32 one = (u32)1 << mantissa;
    for (i64 i = 0; i < size; i++) {
        u32 line = (u32)steps[i] / QUARTERS, magnitude = elements[i] & (SIGN - 1), exponent = magnitude >> mantissa;
        u32 field = exponent ? exponent : 1, below = line > field ? line - field : 0;
        u32 significand = (magnitude & (one - 1)) | (exponent ? one : 0);
        u32 coarse = significand >> (below < 31 ? below : 31), fine = magnitude - ((line - 1) << mantissa);
        u32 place = below ? coarse : fine;
        to->field[i] = field;
        to->significand[i] = significand;
        to->place[i] = (T)(elements[i] & SIGN ? 0 - place : place);
    }
}

INLINE void NAME(classes_on_grid)(const int32_t *restrict steps, const u32 *restrict field, i64 size, u8 *restrict out)
{
    for (i64 i = 0; i < size; i++) {
        int32_t line = steps[i] / QUARTERS, above = (int32_t)field[i] - line;
        above = above < 0 ? 0 : above > GRID_TOP ? GRID_TOP : above;
        int32_t class = steps[i] % QUARTERS + GRID_TOP - QUARTERS * above;
        out[i] = (u8)(class < 0 ? 0 : class);
    }
}

typedef struct {
    u8 *depths, *low;
    T *escapes;
    u64 pending;
    int fill;
} NAME(Placed);

/* Writes what is not in the symbols of a block. */
INLINE void NAME(write_rest)(const T *restrict values, const int32_t *restrict steps, const NAME(Apart) * restrict new,
                             const u8 *restrict symbols, int mantissa, i64 size, NAME(Placed) * to)
{
    u8 *low = to->low;
    u64 pending = to->pending;
    int fill = to->fill;
    for (i64 i = 0; i < size; i++) {
        u32 line = (u32)steps[i] / QUARTERS, field = new->field[i], bits = line > field ? line - field : 0;
        u32 rest = new->significand[i];
        if (symbols[i] == SYMBOLS - 1) {
            *to->escapes++ = values[i];
            continue;
        }
        if (!new->place[i]) {
            u32 depth = bits - (u32)mantissa - 1;
            if (!(rest >> mantissa) || depth >= SYMBOLS - 1) {
                *to->depths++ = SYMBOLS - 1;
                *to->escapes++ = values[i];
                continue;
            }
            *to->depths++ = (u8)depth;
            bits = (u32)mantissa + 1;
            rest = (rest & (((u32)1 << mantissa) - 1)) | (values[i] & SIGN ? (u32)1 << mantissa : 0);
        }
        pending |= ((u64)rest & (((u64)1 << bits) - 1)) << fill;
        fill += (int)bits;
        memcpy(low, &pending, 8);
        low += fill >> 3;
        pending >>= fill & ~7;
        fill &= 7;
    }
    to->low = low;
    to->pending = pending;
    to->fill = fill;
}

static void NAME(place)(const T *restrict values, const T *restrict expected, const Grid *grid, i64 count, u8 *classes,
                        u8 *symbols, u8 *depths, T *escapes, u8 *low, i64 *sizes)
{
    const int mantissa = (int)grid->mantissa;
    NAME(Placed) to = {depths, low, escapes, 0, 0};
    i64 measured = 0;
    for (i64 from = 0; from < count; from += BLOCK) {
        i64 size = count - from < BLOCK ? count - from : BLOCK;
        int32_t steps[BLOCK];
        NAME(Apart) new, old;
        T residuals[BLOCK];
        if (!grid->levels[from / BLOCK]) continue;
        NAME(steps)(grid, from, size, steps);
        NAME(apart)(values + from, steps, mantissa, size, &new);
        NAME(apart)(expected + from, steps, mantissa, size, &old);
        NAME(residuals)(new.place, old.place, size, residuals);
        NAME(classes_on_grid)(steps, old.field, size, classes + measured);
        for (i64 i = 0; i < size; i++)
            symbols[measured + i] = (u8)(residuals[i] < SYMBOLS - 1 ? residuals[i] : SYMBOLS - 1);
        NAME(write_rest)(values + from, steps, &new, symbols + measured, mantissa, size, &to);
        measured += size;
    }
    sizes[0] = measured;
    sizes[1] = to.depths - depths;
    sizes[2] = to.escapes - escapes;
    sizes[3] = to.low - low + (to.fill > 0);
}

static i64 NAME(grid_classes)(const T *restrict expected, const Grid *grid, i64 count, u8 *classes)
{
    i64 measured = 0;
    for (i64 from = 0; from < count; from += BLOCK) {
        i64 size = count - from < BLOCK ? count - from : BLOCK;
        int32_t steps[BLOCK];
        u32 field[BLOCK];
        if (!grid->levels[from / BLOCK]) continue;
        NAME(steps)(grid, from, size, steps);
        for (i64 i = 0; i < size; i++) {
            field[i] = (u32)(expected[from + i] & (SIGN - 1)) >> grid->mantissa;
            field[i] = field[i] ? field[i] : 1;
        }
        NAME(classes_on_grid)(steps, field, size, classes + measured);
        measured += size;
    }
    return measured;
}

/* What a payload has besides the symbols, and how far it was read. */
typedef struct {
    const u8 *depths, *low;
    const T *escapes;
    i64 depth_count, escape_count, low_bytes, depth, escape, bit;
} NAME(Rest);

/* Reads up to 31 bits, if they are there. */
INLINE int NAME(read_bits)(NAME(Rest) * rest, u32 bits, u32 *found)
{
    i64 at = rest->bit >> 3;
    u64 word = 0;
    if (rest->bit + (i64)bits > 8 * rest->low_bytes) return -1;
    if (rest->low_bytes - at >= 8)
        memcpy(&word, rest->low + at, 8);
    else
        memcpy(&word, rest->low + at, (size_t)(rest->low_bytes - at));
    *found = (u32)(word >> (rest->bit & 7) & (((u64)1 << bits) - 1));
    rest->bit += bits;
    return 0;
}

/* Puts an element together whose place is known; returns -1 where the rest of it cannot be. */
INLINE int NAME(whole)(u8 symbol, T place, u32 line, u32 mantissa, NAME(Rest) * rest, T *out)
{
    u32 low;
    u8 depth = 0;
    if (symbol < SYMBOLS - 1 && !place) {
        if (rest->depth == rest->depth_count) return -1;
        depth = rest->depths[rest->depth++];
    }
    if (symbol == SYMBOLS - 1 || depth >= SYMBOLS - 1) {
        if (rest->escape == rest->escape_count) return -1;
        *out = rest->escapes[rest->escape++];
        return 0;
    }
    if (!place) {
        if (line < mantissa + 2 + depth || NAME(read_bits)(rest, mantissa + 1, &low)) return -1;
        u32 fraction = low & (((u32)1 << mantissa) - 1);
        *out = (T)((line - mantissa - 1 - depth) << mantissa | fraction | (low >> mantissa ? SIGN : 0));
        return 0;
    }
    u32 magnitude = (T)(place & SIGN ? 0 - place : place);
    /* Without a branch, which would be guessed wrong too often; the place is not 0. */
    int32_t missing = (int32_t)mantissa - 31 + __builtin_clz(magnitude);
    missing = missing < 0 ? 0 : missing;
    u32 bits = (u32)missing < line - 1 ? (u32)missing : line - 1;
    if (NAME(read_bits)(rest, bits, &low)) return -1;
    magnitude = (magnitude << bits | low) + ((line - 1 - bits) << mantissa);
    *out = (T)((magnitude & (SIGN - 1)) | (place & SIGN));
    return 0;
}

/* Undoes `place` into `out` or, if there is none, to compare with `same`; returns -1 where it cannot be or differs. */
static i64 NAME(displace)(const T *restrict expected, const Grid *grid, i64 count, const u8 *symbols, const u8 *depths,
                          const T *escapes, const u8 *low, const i64 *sizes, T *restrict out, const T *restrict same)
{
    const u32 mantissa = (u32)grid->mantissa;
    NAME(Rest) rest = {depths, low, escapes, sizes[1], sizes[2], sizes[3], 0, 0, 0};
    i64 measured = 0;
    for (i64 from = 0; from < count; from += BLOCK) {
        i64 size = count - from < BLOCK ? count - from : BLOCK;
        T block[BLOCK], different = 0;
        if (grid->levels[from / BLOCK]) {
            int32_t steps[BLOCK];
            NAME(Apart) old;
            if (sizes[0] - measured < size) return -1;
            NAME(steps)(grid, from, size, steps);
            NAME(apart)(expected + from, steps, (int)mantissa, size, &old);
            for (i64 i = 0; i < size; i++)
                block[i] = symbols[measured + i];
            NAME(unresiduals)(block, old.place, size);
            for (i64 i = 0; i < size; i++)
                if (NAME(whole)(symbols[measured + i], block[i], (u32)steps[i] / QUARTERS, mantissa, &rest, block + i))
                    return -1;
            measured += size;
        } else
            memcpy(block, expected + from, (size_t)size * WIDTH);
        if (out) {
            memcpy(out + from, block, (size_t)size * WIDTH);
            continue;
        }
        for (i64 i = 0; i < size; i++)
            different |= block[i] ^ same[from + i];
        if (different) return -1;
    }
    i64 left = 8 * sizes[3] - rest.bit;
    if (measured != sizes[0] || rest.depth != sizes[1] || rest.escape != sizes[2] || left > 7) return -1;
    return left && low[sizes[3] - 1] >> (8 - left) ? -1 : 0;
}

#undef SIGN
#undef BITS
