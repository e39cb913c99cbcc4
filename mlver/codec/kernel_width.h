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

#if defined(__AVX2__) && (WIDTH == 2 || WIDTH == 4)
#define VECTOR_TILES 1
#else
#define VECTOR_TILES 0
#endif
#if VECTOR_TILES
/* Returns 32 bytes of a plane from `at` on; all are the same in one that is not there. */
INLINE __m256i NAME(of_plane)(const u8 *const *planes, T constant, int plane, i64 at)
{
    if (planes[plane]) return _mm256_loadu_si256((const __m256i *)(planes[plane] + at));
    return _mm256_set1_epi8((char)(constant >> (BITS - 8 - 8 * plane)));
}
#endif
#if VECTOR_TILES && WIDTH == 2
/* Takes the elements of a tile apart into planes, `stride` bytes from each other. */
INLINE void NAME(scatter)(const T *tile, u8 *out, i64 stride)
{
    const __m256i low = _mm256_set1_epi16(255);
    for (int i = 0; i < TILE; i += 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(tile + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(tile + i + 16));
        __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
        __m256i rest = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_permute4x64_epi64(high, 0xD8));
        _mm256_storeu_si256((__m256i *)(out + stride + i), _mm256_permute4x64_epi64(rest, 0xD8));
    }
}

/* Undoes it. */
INLINE void NAME(gather)(const u8 *const *planes, T constant, i64 from, T *tile)
{
    for (int i = 0; i < TILE; i += 32) {
        __m256i high = _mm256_permute4x64_epi64(NAME(of_plane)(planes, constant, 0, from + i), 0xD8);
        __m256i rest = _mm256_permute4x64_epi64(NAME(of_plane)(planes, constant, 1, from + i), 0xD8);
        _mm256_storeu_si256((__m256i *)(tile + i), _mm256_unpacklo_epi8(rest, high));
        _mm256_storeu_si256((__m256i *)(tile + i + 16), _mm256_unpackhi_epi8(rest, high));
    }
}
#elif VECTOR_TILES
/* Takes the elements of a tile apart into planes, `stride` bytes from each other. */
INLINE void NAME(scatter)(const T *tile, u8 *out, i64 stride)
{
    const __m256i by_byte = _mm256_setr_epi8(3, 7, 11, 15, 2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12, 3, 7, 11, 15, 2, 6,
                                             10, 14, 1, 5, 9, 13, 0, 4, 8, 12);
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int i = 0; i < TILE; i += 32) {
        __m256i a = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(tile + i)), by_byte);
        __m256i b = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(tile + i + 8)), by_byte);
        __m256i c = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(tile + i + 16)), by_byte);
        __m256i d = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(tile + i + 24)), by_byte);
        __m256i ab = _mm256_unpacklo_epi32(a, b), ab2 = _mm256_unpackhi_epi32(a, b);
        __m256i cd = _mm256_unpacklo_epi32(c, d), cd2 = _mm256_unpackhi_epi32(c, d);
        __m256i planes[4] = {_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd),
                             _mm256_unpacklo_epi64(ab2, cd2), _mm256_unpackhi_epi64(ab2, cd2)};
        for (int plane = 0; plane < 4; plane++)
            _mm256_storeu_si256((__m256i *)(out + plane * stride + i),
                                _mm256_permutevar8x32_epi32(planes[plane], in_order));
    }
}

/* Undoes it. */
INLINE void NAME(gather)(const u8 *const *planes, T constant, i64 from, T *tile)
{
    for (int i = 0; i < TILE; i += 32) {
        __m256i bytes[4];
        for (int plane = 0; plane < 4; plane++)
            /* Quarters 0, 2, 1, 3: what is unpacked below comes out in the order of the elements. */
            bytes[plane] = _mm256_permute4x64_epi64(NAME(of_plane)(planes, constant, plane, from + i), 0xD8);
        __m256i high = _mm256_unpacklo_epi8(bytes[1], bytes[0]), high2 = _mm256_unpackhi_epi8(bytes[1], bytes[0]);
        __m256i low = _mm256_unpacklo_epi8(bytes[3], bytes[2]), low2 = _mm256_unpackhi_epi8(bytes[3], bytes[2]);
        __m256i a = _mm256_unpacklo_epi16(low, high), b = _mm256_unpackhi_epi16(low, high);
        __m256i c = _mm256_unpacklo_epi16(low2, high2), d = _mm256_unpackhi_epi16(low2, high2);
        _mm256_storeu_si256((__m256i *)(tile + i), _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256((__m256i *)(tile + i + 8), _mm256_permute2x128_si256(a, b, 0x31));
        _mm256_storeu_si256((__m256i *)(tile + i + 16), _mm256_permute2x128_si256(c, d, 0x20));
        _mm256_storeu_si256((__m256i *)(tile + i + 24), _mm256_permute2x128_si256(c, d, 0x31));
    }
}
#endif

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
#if VECTOR_TILES
        if (size == TILE) {
            NAME(scatter)(tile, out + from, count);
            continue;
        }
#endif
        for (int plane = 0; plane < WIDTH; plane++) {
            u8 *restrict bytes = out + plane * count + from;
            for (i64 i = 0; i < size; i++)
                bytes[i] = (u8)(tile[i] >> (BITS - 8 - 8 * plane));
        }
    }
    first_and_varying[0] = first;
    first_and_varying[1] = varying;
}

/* Puts together a tile or less of planes; the bytes of those that are NULL are in `constant`. */
INLINE void NAME(join_tile)(const u8 *const *planes, T constant, i64 from, i64 size, T *restrict tile)
{
#if VECTOR_TILES
    if (size == TILE) {
        NAME(gather)(planes, constant, from, tile);
        return;
    }
#endif
    for (i64 i = 0; i < size; i++)
        tile[i] = constant;
    for (int plane = 0; plane < WIDTH; plane++) {
        const u8 *restrict bytes = planes[plane];
        if (!bytes) continue;
        bytes += from;
        for (i64 i = 0; i < size; i++)
            tile[i] |= (T)((T)bytes[i] << (BITS - 8 - 8 * plane));
    }
}

/* Puts planes together, into `out` or, if there is none, to compare them with `same`; returns whether they differ. */
static i64 NAME(join)(const u8 *const *planes, const i64 *constants, const T *restrict expected, i64 count,
                      int sign_moved, T *restrict out, const T *restrict same)
{
    T constant = 0;
    for (int plane = 0; plane < WIDTH; plane++)
        if (!planes[plane]) constant |= (T)((T)constants[plane] << (BITS - 8 - 8 * plane));
    for (i64 from = 0; from < count; from += TILE) {
        i64 size = count - from < TILE ? count - from : TILE;
        T tile[TILE], different = 0;
        NAME(join_tile)(planes, constant, from, size, tile);
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
        if (out) {
            memcpy(out + from, tile, (size_t)size * WIDTH);
            continue;
        }
        for (i64 i = 0; i < size; i++)
            different |= tile[i] ^ same[from + i];
        if (different) return -1;
    }
    return 0;
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

/* Of some of the rows and columns of a matrix: how many more went one way than the other, added up over the columns. */
static i64 NAME(agreement)(const T *raw, const T *base, i64 rows, i64 columns, i64 row_step, i64 column_step)
{
    int32_t balances[LOOKED_AT] = {0};
    i64 all = 0;
    for (i64 row = 0; row < rows; row += row_step)
        for (i64 column = 0, at = 0; column < columns && at < LOOKED_AT; column += column_step, at++) {
            T was = base[row * columns + column];
            S moved = (S)(T)(raw[row * columns + column] - was);
            int up = (moved > 0) - (moved < 0);
            balances[at] += was >> (BITS - 1) ? -up : up;
        }
    for (i64 at = 0; at < LOOKED_AT; at++)
        all += balances[at] < 0 ? -balances[at] : balances[at];
    return all;
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

#undef VECTOR_TILES
#undef BITS
