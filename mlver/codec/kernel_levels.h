/* The loops of kernel.c that sort the residuals of elements of WIDTH bytes: unsigned T. Included once for each width,
 * after kernel_width.h.
 */

#define BITS (8 * WIDTH)
#define PACKS_BITS (FINDS_BYTES && WIDTH < 8)
/* Residuals of at least this many bits come from signs that differ, and say nothing of the step. */
#define ODD_BITS (WIDTH == 1 ? BITS : BITS - 3)
/* GROUP elements have at most 48 low bits, or 56 of one, which with 7 that wait go into a word. */
#define MOST_LOW_BITS (WIDTH == 1 ? 6 : WIDTH == 2 ? 12 : WIDTH == 4 ? 24 : 56)
#define GROUP (8 / WIDTH)
/* A sum of a block's values, each shifted to ROOM bits. */
#if WIDTH <= 2
#define SUM u32
#define SUM_BITS 32
#define ROOM 24
#else
#define SUM u64
#define SUM_BITS 64
#define ROOM 57
#endif
/* A class before it is moved into 0 ... 63: exponents have at most 16 bits. */
#if WIDTH <= 2
#define CLASS uint16_t
#else
#define CLASS u32
#endif
/* An upper part of a residual, where shifting it by another number of bits each time is fast. */
#if WIDTH == 8
#define UPPER u64
#else
#define UPPER u32
#endif

/* The level of a block: the bits of the mean of residuals, in units that all elements share. */
INLINE int32_t NAME(level)(const T *values, const T *exponents, i64 count, T all)
{
    T highest = 0;
    for (i64 i = 0; i < count; i++) {
        T exponent = exponents[i] & (T)(0 - (T)(values[i] != 0));
        highest = exponent > highest ? exponent : highest;
    }
    int bits = bit_length(all), room = ROOM - bits;
    SUM sum = 0;
    if (room >= 0)
        for (i64 i = 0; i < count; i++) {
            SUM below = (SUM)highest - exponents[i];
            sum += (SUM)values[i] << room >> (below < SUM_BITS - 1 ? below : SUM_BITS - 1);
        }
    else
        for (i64 i = 0; i < count; i++) {
            SUM below = (SUM)highest - exponents[i];
            sum += (SUM)values[i] >> -room >> (below < SUM_BITS - 1 ? below : SUM_BITS - 1);
        }
    return bit_length(sum / (SUM)count) + bits - ROOM + (int32_t)highest;
}

/* Writes the residuals of a block, and returns its level. */
INLINE int32_t NAME(measure_block)(const T *restrict raw, const T *restrict expected, const T *restrict base,
                                   const Exponent *exponent, i64 size, T *restrict block)
{
    const int shift = (int)exponent->shift;
    const T mask = (T)exponent->mask;
    T kept[BLOCK], exponents[BLOCK], any = 0, all = 0;
    NAME(residuals)(raw, expected, size, block);
    for (i64 i = 0; i < size; i++)
        any |= block[i];
    if (!any) return ALL_ZERO;
    for (i64 i = 0; i < size; i++) {
#if WIDTH == 1
        kept[i] = block[i];
#else
        kept[i] = block[i] >> ODD_BITS ? 0 : block[i];
#endif
        all |= kept[i];
        exponents[i] = (T)(base[i] >> shift) & mask;
    }
    return all ? NAME(level)(kept, exponents, size, all) : ALL_ODD;
}

/* How many of a block's elements are coded, and how many have low bits; which, only where bytes are found fast. */
typedef struct {
    i64 coded, cut;
#if FINDS_BYTES
    u64 which_coded[BLOCK / 64], which_cut[BLOCK / 64];
#endif
} NAME(Kinds);

#if FINDS_BYTES && (WIDTH == 2 || WIDTH == 4)
/* The classes of a whole block's elements: compilers do not see that they fit the width of the elements. */
INLINE void NAME(whole_block_classes)(const T *base, int shift, u32 mask, u32 top, u8 *classes)
{
    const __m128i by = _mm_cvtsi32_si128(shift);
#if WIDTH == 2
    const __m256i masks = _mm256_set1_epi16((short)mask), last = _mm256_set1_epi16(MAX_CLASSES - 1);
    const __m256i tops = _mm256_set1_epi16((short)(top < 65535 ? top : 65535));
#else
    const __m256i masks = _mm256_set1_epi32((int)mask), last = _mm256_set1_epi32(MAX_CLASSES - 1);
    const __m256i tops = _mm256_set1_epi32((int)top);
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
#endif
    for (int i = 0; i < BLOCK; i += 32) {
        __m256i parts[WIDTH], found;
        for (int part = 0; part < WIDTH; part++) {
            __m256i of_base = _mm256_loadu_si256((const __m256i *)(base + i + part * (32 / WIDTH)));
#if WIDTH == 2
            __m256i fields = _mm256_and_si256(_mm256_srl_epi16(of_base, by), masks);
            parts[part] = _mm256_min_epu16(_mm256_subs_epu16(tops, fields), last);
#else
            __m256i fields = _mm256_and_si256(_mm256_srl_epi32(of_base, by), masks);
            parts[part] = _mm256_min_epu32(_mm256_sub_epi32(_mm256_max_epu32(tops, fields), fields), last);
#endif
        }
#if WIDTH == 2
        found = _mm256_permute4x64_epi64(_mm256_packus_epi16(parts[0], parts[1]), 0xD8);
#else
        found = _mm256_packus_epi16(_mm256_packus_epi32(parts[0], parts[1]), _mm256_packus_epi32(parts[2], parts[3]));
        found = _mm256_permutevar8x32_epi32(found, in_order);
#endif
        _mm256_storeu_si256((__m256i *)(classes + i), found);
    }
}
#endif

/* The classes of a block's elements. */
INLINE void NAME(block_classes)(const T *restrict base, const Exponent *exponent, const Sorting *sorting, u8 level,
                                i64 count, u8 *restrict classes, NAME(Kinds) * kinds)
{
    const i64 origin = sorting->origin + level;
    const int shift = (int)exponent->shift;
    const CLASS top = origin < 0 ? 0 : (CLASS)origin, mask = (CLASS)exponent->mask, last = MAX_CLASSES - 1;
    kinds->coded = kinds->cut = 0;
#if FINDS_BYTES && (WIDTH == 2 || WIDTH == 4)
    if (count == BLOCK)
        NAME(whole_block_classes)(base, shift, mask, top, classes);
    else
#endif
        for (i64 i = 0; i < count; i++) {
            CLASS field = (CLASS)(base[i] >> shift) & mask;
            CLASS class = (CLASS)((top > field ? top : field) - field);
            classes[i] = (u8)(class < last ? class : last);
        }
#if FINDS_BYTES
    if (count == BLOCK) {
        smaller_bytes(classes, (u8)sorting->coded, kinds->which_coded);
        larger_bytes(classes, (u8)sorting->unshifted, kinds->which_cut);
        for (int word = 0; word < BLOCK / 64; word++) {
            kinds->coded += __builtin_popcountll(kinds->which_coded[word]);
            kinds->cut += __builtin_popcountll(kinds->which_cut[word]);
        }
        return;
    }
#endif
    for (i64 i = 0; i < count; i++) {
        kinds->coded += classes[i] < sorting->coded;
        kinds->cut += classes[i] > sorting->unshifted;
    }
}

INLINE void NAME(low_bits)(const u8 *restrict classes, const Sorting *sorting, i64 count, u8 *restrict bits)
{
    const u8 unshifted = (u8)sorting->unshifted, most = MOST_LOW_BITS;
    for (i64 i = 0; i < count; i++) {
        u8 above = (u8)((classes[i] > unshifted ? classes[i] : unshifted) - unshifted);
        bits[i] = above < most ? above : most;
    }
}

#if PACKS_BITS
#if WIDTH == 2
/* Powers of two: there is no shift of elements of two bytes by a number of bits each. Exponents are taken modulo 16. */
INLINE void NAME(powers)(const u8 *restrict exponents, T *restrict powers)
{
    const __m256i low = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64,
                                         -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i high = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0,
                                          1, 2, 4, 8, 16, 32, 64, -128);
    for (int i = 0; i < BLOCK; i += 32) {
        __m256i by = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)(exponents + i)), 0xD8);
        __m256i lower = _mm256_shuffle_epi8(low, by), upper = _mm256_shuffle_epi8(high, by);
        _mm256_storeu_si256((__m256i *)(powers + i), _mm256_unpacklo_epi8(lower, upper));
        _mm256_storeu_si256((__m256i *)(powers + i + 16), _mm256_unpackhi_epi8(lower, upper));
    }
}
#endif

/* Ones where the elements of a block have their low bits. */
INLINE void NAME(low_masks)(const u8 *restrict bits, T *restrict masks)
{
#if WIDTH == 2
    NAME(powers)(bits, masks);
    for (int i = 0; i < BLOCK; i++)
        masks[i] = (T)(masks[i] - 1);
#else
    for (int i = 0; i < BLOCK; i++)
        masks[i] = (T)(((UPPER)1 << bits[i]) - 1);
#endif
}
#endif

/* Takes the low bits of a block's elements away. */
INLINE void NAME(shift_down)(const T *restrict values, const u8 *restrict bits, T *restrict shifted)
{
#if PACKS_BITS && WIDTH == 2
    const __m256i one = _mm256_set1_epi16(1);
    u8 others[BLOCK];
    T powers[BLOCK];
    for (int i = 0; i < BLOCK; i++)
        others[i] = (u8)(BITS - bits[i]);
    NAME(powers)(others, powers); /* 1, where no bit is taken away */
    for (int i = 0; i < BLOCK; i += 16) {
        __m256i value = _mm256_loadu_si256((const __m256i *)(values + i));
        __m256i power = _mm256_loadu_si256((const __m256i *)(powers + i));
        __m256i kept = _mm256_blendv_epi8(_mm256_mulhi_epu16(value, power), value, _mm256_cmpeq_epi16(power, one));
        _mm256_storeu_si256((__m256i *)(shifted + i), kept);
    }
#else
    for (int i = 0; i < BLOCK; i++)
        shifted[i] = (T)((UPPER)values[i] >> bits[i]);
#endif
}

/* Puts low bits below the elements of a block. */
INLINE void NAME(shift_up)(T *restrict values, const u8 *restrict bits, const T *restrict lower, i64 size)
{
#if PACKS_BITS && WIDTH == 2
    T powers[BLOCK];
    NAME(powers)(bits, powers);
    for (i64 i = 0; i < size; i++)
        values[i] = (T)((T)((u32)values[i] * powers[i]) | lower[i]);
#else
    for (i64 i = 0; i < size; i++)
        values[i] = (T)((UPPER)values[i] << bits[i] | lower[i]);
#endif
}

typedef struct {
    u8 *plane, *coded, *symbols, *low;
    T *escapes;
    u64 pending;
    int fill;
} NAME(Written);

/* Appends the low bits of a block, of which there may be none after the last element. */
INLINE void NAME(write_low)(NAME(Written) * to, const T *restrict values, const u8 *restrict bits)
{
    u8 *low = to->low;
    u64 pending = to->pending;
    int fill = to->fill;
#if PACKS_BITS
    T masks[BLOCK];
    NAME(low_masks)(bits, masks);
#endif
    for (int i = 0; i < BLOCK; i += GROUP) {
        u64 part = 0;
        int shift = 0;
#if PACKS_BITS
        u64 group, mask;
        memcpy(&group, values + i, 8);
        memcpy(&mask, masks + i, 8);
        part = _pext_u64(group, mask);
        shift = __builtin_popcountll(mask);
#else
        for (int j = i; j < i + GROUP; j++) {
            part |= ((u64)values[j] & (((u64)1 << bits[j]) - 1)) << shift;
            shift += bits[j];
        }
#endif
        pending |= part << fill;
        fill += shift;
        memcpy(low, &pending, 8);
        low += fill >> 3;
        pending >>= fill & ~7;
        fill &= 7;
    }
    to->low = low;
    to->pending = pending;
    to->fill = fill;
}

/* Writes upper parts of one limit, and those that reach it to the escapes. */
INLINE void NAME(write_cut)(const T *restrict upper, T most, i64 size, u8 *restrict cut, T **escapes)
{
    u8 some_escaped = 0;
    for (i64 i = 0; i < size; i++) {
        some_escaped |= upper[i] >= most;
        cut[i] = (u8)(upper[i] < most ? upper[i] : most);
    }
    if (!some_escaped) return;
#if FINDS_BYTES
    if (size == BLOCK) {
        u64 found[BLOCK / 64];
        equal_bytes(cut, (u8)most, found);
        for (int word = 0; word < BLOCK / 64; word++)
            for (u64 left = found[word]; left; left &= left - 1)
                *(*escapes)++ = upper[64 * word + __builtin_ctzll(left)];
        return;
    }
#endif
    for (i64 i = 0; i < size; i++)
        if (cut[i] == most) *(*escapes)++ = upper[i];
}

#if FINDS_BYTES
/* Cuts the few elements of a whole block that have low bits, which gain nothing from being done together. */
INLINE void NAME(write_few_low)(NAME(Written) * to, const T *restrict values, const u8 *restrict classes, int unshifted,
                                const u64 *found, T *restrict shifted)
{
    u8 *low = to->low;
    u64 pending = to->pending;
    int fill = to->fill;
    memcpy(shifted, values, BLOCK * WIDTH);
    for (int word = 0; word < BLOCK / 64; word++)
        for (u64 left = found[word]; left; left &= left - 1) {
            int i = 64 * word + __builtin_ctzll(left), bits = classes[i] - unshifted;
            bits = bits > MOST_LOW_BITS ? MOST_LOW_BITS : bits;
            pending |= ((u64)values[i] & (((u64)1 << bits) - 1)) << fill;
            shifted[i] = (T)(values[i] >> bits);
            fill += bits;
            memcpy(low, &pending, 8);
            low += fill >> 3;
            pending >>= fill & ~7;
            fill &= 7;
        }
    to->low = low;
    to->pending = pending;
    to->fill = fill;
}
#endif

/* Cuts the elements of a block. */
INLINE void NAME(cut_low)(NAME(Written) * to, const T *restrict values, const u8 *restrict classes,
                          const NAME(Kinds) * kinds, const Sorting *sorting, i64 size, T *restrict shifted)
{
    u8 bits[BLOCK];
    T last[BLOCK];
#if FINDS_BYTES
    if (size == BLOCK && kinds->cut <= FEW_LOW) {
        NAME(write_few_low)(to, values, classes, (int)sorting->unshifted, kinds->which_cut, shifted);
        return;
    }
#else
    (void)kinds;
#endif
    memset(bits, 0, sizeof bits);
    NAME(low_bits)(classes, sorting, size, bits);
    if (size < BLOCK) {
        memset(last, 0, sizeof last);
        memcpy(last, values, (size_t)size * WIDTH);
        values = last;
    }
    NAME(shift_down)(values, bits, shifted);
    NAME(write_low)(to, values, bits);
}

/* Takes the residuals of a block apart; inlined once for whole blocks, whose size the compiler knows then. */
INLINE void NAME(sort_block)(const T *restrict values, const T *restrict base, const Exponent *exponent,
                             const Sorting *sorting, u8 level, i64 size, NAME(Written) * to)
{
    u8 classes[BLOCK], limit = (u8)sorting->coded;
    T shifted[BLOCK];
    const T *upper = values;
    NAME(Kinds) kinds;
    NAME(block_classes)(base, exponent, sorting, level, size, classes, &kinds);
    if (kinds.cut) {
        NAME(cut_low)(to, values, classes, &kinds, sorting, size, shifted);
        upper = shifted;
    }
    if (kinds.coded == size) {
        memcpy(to->coded, classes, (size_t)size);
        NAME(write_cut)(upper, SYMBOLS - 1, size, to->symbols, &to->escapes);
        to->coded += size;
        to->symbols += size;
    } else if (!kinds.coded) {
        NAME(write_cut)(upper, PLANE_ESCAPE, size, to->plane, &to->escapes);
        to->plane += size;
#if FINDS_BYTES
    } else if (size == BLOCK) {
        u8 cut[BLOCK], most[BLOCK];
        u64 others[BLOCK / 64], escaped[BLOCK / 64];
        for (int i = 0; i < BLOCK; i++)
            most[i] = classes[i] < limit ? SYMBOLS - 1 : PLANE_ESCAPE;
        for (int i = 0; i < BLOCK; i++) {
            UPPER above = upper[i];
            cut[i] = above < most[i] ? (u8)above : most[i];
        }
        same_bytes(cut, most, escaped);
        for (int word = 0; word < BLOCK / 64; word++) {
            others[word] = ~kinds.which_coded[word];
            for (u64 left = escaped[word]; left; left &= left - 1)
                *to->escapes++ = upper[64 * word + __builtin_ctzll(left)];
        }
        to->coded = kept_bytes(classes, kinds.which_coded, to->coded);
        to->symbols = kept_bytes(cut, kinds.which_coded, to->symbols);
        to->plane = kept_bytes(cut, others, to->plane);
#endif
    } else {
        u8 both[2 * BLOCK], of_both[2 * BLOCK];
        unsigned kept = 0;
        for (unsigned i = 0; i < (unsigned)size; i++) {
            /* A branch would be guessed wrong too often. */
            unsigned is_coded = classes[i] < limit;
            unsigned at = i - kept + ((0 - is_coded) & (BLOCK + 2 * kept - i));
            T most = is_coded ? SYMBOLS - 1 : PLANE_ESCAPE;
            both[at] = (u8)(upper[i] < most ? upper[i] : most);
            of_both[at] = classes[i];
            kept += is_coded;
            *to->escapes = upper[i];
            to->escapes += upper[i] >= most;
        }
        memcpy(to->plane, both, (size_t)(size - kept));
        memcpy(to->symbols, both + BLOCK, kept);
        memcpy(to->coded, of_both + BLOCK, kept);
        to->coded += kept;
        to->symbols += kept;
        to->plane += size - kept;
    }
}

/* Measures the residuals of blocks of a size and takes them apart. Inlined as `sort_block` is. */
INLINE void NAME(sort_blocks)(const T *raw, const T *expected, const T *base, const Exponent *exponent, const Cut *cut,
                              i64 from, i64 end, i64 size, int32_t *measured, NAME(Written) * to)
{
    for (; from < end; from += size) {
        T block[BLOCK];
        int32_t level = NAME(measure_block)(raw + from, expected + from, base + from, exponent, size, block);
        measured[from / BLOCK] = level;
        if (level == ALL_ZERO) continue;
        level = level < cut->lowest ? cut->lowest : level > cut->highest ? cut->highest : level;
        const Sorting sorting = {NULL, level + cut->unshifted - cut->bits, cut->unshifted, cut->coded};
        NAME(sort_block)(block, base + from, exponent, &sorting, 0, size, to);
    }
}

static void NAME(sort)(const T *raw, const T *expected, const T *base, const Exponent *exponent, const Cut *cut,
                       i64 count, int32_t *measured, u8 *plane, u8 *coded, u8 *symbols, T *escapes, u8 *low, i64 *sizes)
{
    NAME(Written) to = {plane, coded, symbols, low, escapes, 0, 0};
    const i64 whole = count / BLOCK * BLOCK;
    NAME(sort_blocks)(raw, expected, base, exponent, cut, 0, whole, BLOCK, measured, &to);
    NAME(sort_blocks)(raw, expected, base, exponent, cut, whole, count, count - whole, measured, &to);
    sizes[0] = to.plane - plane;
    sizes[1] = to.coded - coded;
    sizes[2] = to.escapes - escapes;
    sizes[3] = to.low - low + (to.fill > 0);
}

/* Writes the classes of the elements that are coded, at most `limit`, and returns their number, or -1 if there are
 * more. */
static i64 NAME(classes)(const T *restrict base, const Exponent *exponent, const Sorting *sorting, i64 count,
                         u8 *restrict coded, i64 limit)
{
    i64 in_coded = 0;
    for (i64 from = 0; from < count; from += BLOCK) {
        i64 size = count - from < BLOCK ? count - from : BLOCK;
        u8 classes[BLOCK + 1], level = sorting->levels[from / BLOCK];
        if (!level) continue;
        NAME(Kinds) kinds;
        NAME(block_classes)(base + from, exponent, sorting, level, size, classes, &kinds);
        if (limit - in_coded < kinds.coded) return -1;
        if (kinds.coded < size) {
#if FINDS_BYTES
            if (size == BLOCK) {
                kept_bytes(classes, kinds.which_coded, classes);
                size = 0;
            }
#endif
            for (i64 i = 0, kept = 0; i < size; i++) {
                classes[kept] = classes[i];
                kept += classes[i] < sorting->coded;
            }
        }
        memcpy(coded + in_coded, classes, (size_t)kinds.coded);
        in_coded += kinds.coded;
    }
    return in_coded;
}

/* Reads the low bits of a block from bit `at` of `low`, which has `size` bytes: zeros behind its end. Returns their
 * number, whether or not as many are there. */
INLINE i64 NAME(read_low)(const u8 *restrict low, i64 size, i64 at, const u8 *restrict bits, T *restrict values)
{
    u8 last[BLOCK * MOST_LOW_BITS / 8 + 16];
    i64 begin = at;
    if (size - (at >> 3) < (i64)sizeof last) {
        memset(last, 0, sizeof last);
        memcpy(last, low + (at >> 3), (size_t)(size - (at >> 3)));
        low = last;
        begin = at &= 7;
    }
#if PACKS_BITS
    T masks[BLOCK];
    NAME(low_masks)(bits, masks);
#endif
    for (int i = 0; i < BLOCK; i += GROUP) {
        u64 part;
        memcpy(&part, low + (at >> 3), 8);
        part >>= at & 7;
#if PACKS_BITS
        u64 mask;
        memcpy(&mask, masks + i, 8);
        part = _pdep_u64(part, mask);
        memcpy(values + i, &part, 8);
        at += __builtin_popcountll(mask);
#else
        for (int j = i; j < i + GROUP; j++) {
            values[j] = (T)(part & (((u64)1 << bits[j]) - 1));
            part >>= bits[j];
            at += bits[j];
        }
#endif
    }
    return at - begin;
}

typedef struct {
    i64 in_plane, in_coded, escaped, at;
} NAME(Taken);

#if FINDS_BYTES
/* Undoes `write_few_low`, where all bits there can be are not behind the end; returns their number. */
INLINE i64 NAME(read_few_low)(const u8 *restrict low, i64 at, const u8 *restrict classes, int unshifted,
                              const u64 *found, T *restrict block)
{
    const i64 begin = at;
    for (int word = 0; word < BLOCK / 64; word++)
        for (u64 left = found[word]; left; left &= left - 1) {
            int i = 64 * word + __builtin_ctzll(left), bits = classes[i] - unshifted;
            u64 part;
            bits = bits > MOST_LOW_BITS ? MOST_LOW_BITS : bits;
            memcpy(&part, low + (at >> 3), 8);
            part = part >> (at & 7) & (((u64)1 << bits) - 1);
            block[i] = (T)((UPPER)block[i] << bits | part);
            at += bits;
        }
    return at - begin;
}
#endif

/* Puts low bits below the upper parts of a block; returns their number, or -1 if there are not as many. */
INLINE i64 NAME(join_low)(const u8 *restrict low, i64 size_bytes, i64 at, const u8 *restrict classes,
                          const NAME(Kinds) * kinds, const Sorting *sorting, i64 size, T *restrict block)
{
    u8 bits[BLOCK];
    T lower[BLOCK];
    i64 of_low;
#if FINDS_BYTES
    if (size == BLOCK && kinds->cut <= FEW_LOW && size_bytes - (at >> 3) >= FEW_LOW * MOST_LOW_BITS / 8 + 16)
        return NAME(read_few_low)(low, at, classes, (int)sorting->unshifted, kinds->which_cut, block);
#else
    (void)kinds;
#endif
    memset(bits, 0, sizeof bits);
    NAME(low_bits)(classes, sorting, size, bits);
    of_low = NAME(read_low)(low, size_bytes, at, bits, lower);
    if (8 * size_bytes - at < of_low) return -1;
    NAME(shift_up)(block, bits, lower, size);
    return of_low;
}

/* Gives back the elements of a block, into `out` or, if there is none, to compare them with `same`. Returns -1 if there
 * are not enough residuals, or the elements differ. Inlined as `sort_block` is. */
INLINE int NAME(merge_block)(const T *expected, const T *base, const Exponent *exponent, const Sorting *sorting,
                             u8 level, i64 size, const u8 *restrict plane, const u8 *restrict symbols,
                             const T *restrict escapes, const u8 *restrict low, const i64 *sizes, NAME(Taken) * taken,
                             T *restrict out, const T *restrict same)
{
    T block[BLOCK], different = 0;
    if (!level) memset(block, 0, sizeof block);
    if (level) {
        u8 classes[BLOCK], mixed[BLOCK], limit = (u8)sorting->coded, some_escaped = 0;
        NAME(Kinds) kinds;
        NAME(block_classes)(base, exponent, sorting, level, size, classes, &kinds);
        const i64 of_coded = kinds.coded;
        if (sizes[1] - taken->in_coded < of_coded || sizes[0] - taken->in_plane < size - of_coded) return -1;
        const u8 *cut = of_coded ? symbols + taken->in_coded : plane + taken->in_plane;
#if FINDS_BYTES
        if (size == BLOCK) {
            if (of_coded && of_coded < size) {
                const u8 *coded = cut, *others = plane + taken->in_plane;
                u8 copies[2][BLOCK + 8];
                if (sizes[1] - taken->in_coded < BLOCK + 8) {
                    memcpy(copies[0], coded, (size_t)of_coded);
                    coded = copies[0];
                }
                if (sizes[0] - taken->in_plane < BLOCK + 8) {
                    memcpy(copies[1], others, (size_t)(size - of_coded));
                    others = copies[1];
                }
                mixed_bytes(coded, others, kinds.which_coded, mixed);
                cut = mixed;
            }
            for (int i = 0; i < BLOCK; i++)
                block[i] = cut[i];
            u64 as_coded[BLOCK / 64], as_other[BLOCK / 64];
            equal_bytes(cut, SYMBOLS - 1, as_coded);
            equal_bytes(cut, PLANE_ESCAPE, as_other);
            for (int word = 0; word < BLOCK / 64; word++) {
                u64 left = (as_coded[word] & kinds.which_coded[word]) | (as_other[word] & ~kinds.which_coded[word]);
                for (; left; left &= left - 1) {
                    if (taken->escaped == sizes[2]) return -1;
                    block[64 * word + __builtin_ctzll(left)] = escapes[taken->escaped++];
                }
            }
        } else
#endif
        if (of_coded == 0 || of_coded == size) {
            u8 most = of_coded ? SYMBOLS - 1 : PLANE_ESCAPE;
            for (i64 i = 0; i < size; i++) {
                some_escaped |= cut[i] == most;
                block[i] = cut[i];
            }
        } else {
            u8 both[2 * BLOCK];
            memcpy(both, plane + taken->in_plane, (size_t)(size - of_coded));
            memcpy(both + BLOCK, symbols + taken->in_coded, (size_t)of_coded);
            unsigned coded = 0;
            for (unsigned i = 0; i < (unsigned)size; i++) {
                unsigned is_coded = classes[i] < limit;
                mixed[i] = both[i - coded + ((0 - is_coded) & (BLOCK + 2 * coded - i))];
                some_escaped |= mixed[i] == (is_coded ? SYMBOLS - 1 : PLANE_ESCAPE);
                block[i] = mixed[i];
                coded += is_coded;
            }
            cut = mixed;
        }
        taken->in_coded += of_coded;
        taken->in_plane += size - of_coded;
        if (some_escaped)
            for (i64 i = 0; i < size; i++)
                if (cut[i] == (classes[i] < limit ? SYMBOLS - 1 : PLANE_ESCAPE)) {
                    if (taken->escaped == sizes[2]) return -1;
                    block[i] = escapes[taken->escaped++];
                }
        if (kinds.cut) {
            i64 of_low = NAME(join_low)(low, sizes[3], taken->at, classes, &kinds, sorting, size, block);
            if (of_low < 0) return -1;
            taken->at += of_low;
        }
    }
    NAME(unresiduals)(block, expected, size);
    if (out) {
        memcpy(out, block, (size_t)size * WIDTH);
        return 0;
    }
    for (i64 i = 0; i < size; i++)
        different |= block[i] ^ same[i];
    return different ? -1 : 0;
}

static i64 NAME(merge)(const T *restrict expected, const T *restrict base, const Exponent *exponent,
                       const Sorting *sorting, i64 count, const u8 *restrict plane, const u8 *restrict symbols,
                       const T *restrict escapes, const u8 *restrict low, const i64 *sizes, T *restrict out,
                       const T *restrict same)
{
    NAME(Taken) taken = {0, 0, 0, 0};
    for (i64 from = 0; from < count; from += BLOCK) {
        T *to = out ? out + from : NULL;
        const T *with = same ? same + from : NULL;
        u8 level = sorting->levels[from / BLOCK];
        int failed = count - from >= BLOCK
                         ? NAME(merge_block)(expected + from, base + from, exponent, sorting, level, BLOCK, plane,
                                             symbols, escapes, low, sizes, &taken, to, with)
                         : NAME(merge_block)(expected + from, base + from, exponent, sorting, level, count - from,
                                             plane, symbols, escapes, low, sizes, &taken, to, with);
        if (failed) return -1;
    }
    i64 rest = 8 * sizes[3] - taken.at;
    if (taken.in_plane != sizes[0] || taken.in_coded != sizes[1] || taken.escaped != sizes[2] || rest > 7) return -1;
    return rest && low[sizes[3] - 1] >> (8 - rest) ? -1 : 0;
}

#undef GROUP
#undef SUM
#undef SUM_BITS
#undef ROOM
#undef UPPER
#undef CLASS
#undef BITS
#undef PACKS_BITS
#undef ODD_BITS
#undef MOST_LOW_BITS
