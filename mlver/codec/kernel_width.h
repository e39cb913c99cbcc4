/* The loops of kernel.c for elements of WIDTH bytes: unsigned T, signed S. Included once for each width. */

#define BITS (8 * WIDTH)
INLINE void NAME(residuals)(const T *restrict raw, const T *restrict expected, i64 count, T *restrict out)
{
    for (i64 i = 0; i < count; i++) {
        T difference = (T)(raw[i] - expected[i]);
        out[i] = (T)((T)(difference << 1) ^ (T)((S)difference >> (BITS - 1)));
    }
}

INLINE void NAME(unresiduals)(T *restrict values, const T *restrict expected, i64 count)
{
    for (i64 i = 0; i < count; i++)
        values[i] = (T)((T)((T)(values[i] >> 1) ^ (T)(0 - (values[i] & 1))) + expected[i]);
}

/* Writes what is expected of elements: those of the base, plus what the table and the steps say. */
static void NAME(expect)(const T *restrict base, const Expectation *expectation, i64 count, T *restrict out)
{
    const T *table = expectation->table;
    if (table)
        for (i64 i = 0; i < count; i++)
            out[i] = (T)(base[i] + table[base[i] >> expectation->table_shift & TABLE_MASK]);
    else
        memcpy(out, base, (size_t)count * WIDTH);
    if (!expectation->steps) return;
    const Exponent *exponent = &expectation->exponent;
    i64 columns = expectation->columns;
    for (i64 from = 0; from < count; from += columns) {
        i64 size = count - from < columns ? count - from : columns;
        const T *restrict row = base + from;
        const int16_t *restrict steps = expectation->steps;
        T *restrict to = out + from;
        for (i64 i = 0; i < size; i++) {
            int32_t field = (int32_t)(row[i] >> exponent->shift & (u64)exponent->mask);
            int32_t shift = (field > 1 ? field : 1) - (int32_t)expectation->unit;
            shift = shift < 0 ? 0 : shift > 31 ? 31 : shift;
            int32_t step = (int32_t)steps[i] * (1 << STEP_BITS);
            int32_t rounded = (step + (int32_t)((1u << shift) >> 1)) >> shift;
            int32_t negative = -(int32_t)(row[i] >> (BITS - 1));
            to[i] = (T)(to[i] + (T)((rounded ^ negative) - negative));
        }
    }
}

static void NAME(split)(const T *restrict raw, const T *restrict expected, i64 count, int move_sign, u8 *restrict out,
                        u64 *first_and_varying)
{
    T first = 0, varying = 0;
    for (i64 from = 0; from < count; from += TILE) {
        i64 size = count - from < TILE ? count - from : TILE;
        T tile[TILE];
        if (expected)
            NAME(residuals)(raw + from, expected + from, size, tile);
        else
            memcpy(tile, raw + from, (size_t)size * WIDTH);
#if WIDTH > 1
        if (move_sign)
            for (i64 i = 0; i < size; i++) {
                T high = tile[i] >> (BITS - 9);
                high = (T)((high << 1 | high >> 8) & 511);
                tile[i] = (T)((T)(high << (BITS - 9)) | (tile[i] & (T)(((T)1 << (BITS - 9)) - 1)));
            }
#else
        (void)move_sign;
#endif
        if (!from) first = tile[0];
        for (i64 i = 0; i < size; i++)
            varying |= tile[i] ^ first;
        for (int plane = 0; plane < WIDTH; plane++) {
            u8 *restrict bytes = out + plane * count + from;
            for (i64 i = 0; i < size; i++)
                bytes[i] = (u8)(tile[i] >> (BITS - 8 - 8 * plane));
        }
    }
    first_and_varying[0] = first;
    first_and_varying[1] = varying;
}

static void NAME(join)(const u8 *const *planes, const i64 *constants, const T *restrict expected, i64 count,
                       int sign_moved, T *restrict out)
{
    T constant = 0;
    for (int plane = 0; plane < WIDTH; plane++)
        if (!planes[plane]) constant |= (T)((T)constants[plane] << (BITS - 8 - 8 * plane));
    for (i64 from = 0; from < count; from += TILE) {
        i64 size = count - from < TILE ? count - from : TILE;
        T tile[TILE];
        for (i64 i = 0; i < size; i++)
            tile[i] = constant;
        for (int plane = 0; plane < WIDTH; plane++) {
            const u8 *restrict bytes = planes[plane];
            if (!bytes) continue;
            bytes += from;
            for (i64 i = 0; i < size; i++)
                tile[i] |= (T)((T)bytes[i] << (BITS - 8 - 8 * plane));
        }
#if WIDTH > 1
        if (sign_moved)
            for (i64 i = 0; i < size; i++) {
                T high = tile[i] >> (BITS - 9);
                high = (T)((high >> 1 | high << 8) & 511);
                tile[i] = (T)((T)(high << (BITS - 9)) | (tile[i] & (T)(((T)1 << (BITS - 9)) - 1)));
            }
#else
        (void)sign_moved;
#endif
        if (expected) NAME(unresiduals)(tile, expected + from, size);
        memcpy(out + from, tile, (size_t)size * WIDTH);
    }
}

/* Finds the commonest difference by the base's mantissa, of equals the smallest; returns whether it is so for many. */
static i64 NAME(learn)(const T *raw, const T *base, i64 count, i64 shift, u64 *keys, u32 *seen, T *table)
{
    i64 step = count / LEARN_SAMPLE | 1, taken = 0, zeros = 0, explained = 0;
    u32 best[TABLE_MASK + 1] = {0};
    memset(seen, 0, LEARN_SLOTS * sizeof *seen);
    memset(table, 0, (TABLE_MASK + 1) * WIDTH);
    for (i64 i = 0; i < count; i += step) {
        T difference = (T)(raw[i] - base[i]);
        u32 index = (u32)(base[i] >> shift & TABLE_MASK);
        u64 hash = (difference + 1) * UINT64_C(0x9E3779B97F4A7C15) + index * UINT64_C(0xC2B2AE3D27D4EB4F);
        u32 slot = (u32)(hash >> 50);
        taken++;
        zeros += !difference;
        /* Differences of elements of eight bytes may share their hash, not their slot: the index is kept in `seen`. */
        while (seen[slot] && (keys[slot] != difference || (seen[slot] & TABLE_MASK) != index))
            slot = (slot + 1) & (LEARN_SLOTS - 1);
        keys[slot] = difference;
        seen[slot] = ((seen[slot] >> 7) + 1) << 7 | index;
        u32 times = seen[slot] >> 7;
        if (times >= LEARN_MIN_SEEN && (times > best[index] || (times == best[index] && difference < table[index]))) {
            best[index] = times;
            table[index] = difference;
        }
    }
    if ((taken - zeros) * LEARN_GAIN < taken) return 0;
    for (u32 index = 0; index <= TABLE_MASK; index++)
        explained += best[index];
    return (explained - zeros) * LEARN_GAIN >= taken;
}

static i64 NAME(sparse_split)(const T *restrict raw, i64 count, int signs_apart, u8 *restrict places,
                              u8 *restrict signs, T *restrict values)
{
    const T sign = signs_apart ? (T)((T)1 << (BITS - 1)) : 0;
    i64 filled = 0;
    for (i64 from = 0; from < count; from += 8) {
        int size = count - from < 8 ? (int)(count - from) : 8;
        unsigned bits = 0, negative = 0;
        for (int i = 0; i < size; i++) {
            T value = raw[from + i];
            T magnitude = value & (T)~sign;
            negative |= (unsigned)((value & sign) != 0) << i;
            bits |= (unsigned)(magnitude != 0) << i;
            values[filled] = magnitude;
            filled += magnitude != 0;
        }
        places[from / 8] = (u8)bits;
        if (signs_apart) signs[from / 8] = (u8)negative;
    }
    return filled;
}

static i64 NAME(sparse_join)(const u8 *restrict places, const u8 *restrict signs, i64 count, const T *restrict values,
                             i64 filled, T *restrict out)
{
    i64 taken = 0;
    for (i64 from = 0; from < count; from += 8) {
        int size = count - from < 8 ? (int)(count - from) : 8;
        unsigned bits = places[from / 8], negative = signs ? signs[from / 8] : 0;
        if (bits >> size || negative >> size || filled - taken < __builtin_popcount(bits)) return -1;
        for (int i = 0; i < size; i++) {
            T value = 0;
            if (bits >> i & 1) value = values[taken++];
            out[from + i] = (T)(value | (T)((T)(negative >> i & 1) << (BITS - 1)));
        }
    }
    return taken == filled ? 0 : -1;
}

#undef BITS
