/* The loops of the codec that run over every element, in C; mlver/codec/portable.py is the definition of each.
 *
 * Nothing here allocates, calls a library or computes with floating point, so that all machines agree. Callers own all
 * buffers, whose sizes are in the arguments; what comes from a payload is checked before it moves a pointer. Functions
 * that take apart what a payload says return a negative number where it cannot be.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Chunks are little-endian; the codec does without its kernel on this machine."
#endif

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define ANY_ALIGNMENT __attribute__((aligned(1), may_alias))

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;
typedef uint8_t u8_any ANY_ALIGNMENT;
typedef uint16_t u16_any ANY_ALIGNMENT;
typedef uint32_t u32_any ANY_ALIGNMENT;
typedef uint64_t u64_any ANY_ALIGNMENT;

enum {
    TILE = 256,
    BLOCK = 128, /* elements of one level */
    TABLE_MASK = 127,
    STEP_BITS = 14,
    SYMBOL_BITS = 6,
    SYMBOLS = 1 << SYMBOL_BITS, /* of an entropy-coded residual; the last one is an escape */
    PLANE_ESCAPE = 255,
    MAX_CLASSES = 64,
    PROBABILITY_BITS = 12,
    SLOTS = 1 << PROBABILITY_BITS,
    MAX_LANES = 256,
    QUARTERS = 4,      /* of a power of two, which is what steps are counted in */
    MOST_STEP = 1 << 20,
    GRID_TOP = 40, /* the class of elements no larger than the step */
    FEW_LOW = 24, /* elements with low bits that are done one by one */
    LEARN_SLOTS = 1 << 14,
    LEARN_SAMPLE = 1 << 12,
    LEARN_MIN_SEEN = 4,
    LEARN_GAIN = 32,
    LOG_BITS = 16,     /* of the fraction of a logarithm */
    SHARE_BITS = 629146, /* a share takes 1.2 bytes, in these units of a bit */
    LOOKED_AT = 512,   /* columns of a sample of rows */
    MOST_LEVEL = 255,
    ANY_LEVEL = 1 << 20 /* none is as far from zero */
};

#define ALL_ZERO INT32_MIN
#define ALL_ODD (INT32_MIN + 1)
#define STATE_LOW 65536u

/* Where the exponent of a base element is. */
typedef struct {
    i64 shift;
    i64 mask;
} Exponent;

/* What is expected of elements, beyond what their base is. */
typedef struct {
    const void *table; /* 128 elements, or NULL */
    i64 table_shift;
    const int16_t *steps; /* one a column, or NULL */
    i64 columns;
    i64 unit;
    Exponent exponent;
} Expectation;

/* How a chunk's elements are sorted into classes. */
typedef struct {
    const u8 *levels; /* one a block */
    i64 origin;
    i64 unshifted; /* the highest class without low bits */
    i64 coded;     /* classes below it are entropy-coded, the others make a plane */
} Sorting;

/* How a chunk's elements are sorted before their levels are known. */
typedef struct {
    i64 bits; /* of the mean residual of the highest class without low bits */
    i64 unshifted;
    i64 coded;
    int32_t lowest; /* levels are moved up to this, */
    int32_t highest; /* and down to this */
} Cut;

/* Symbols as they are coded: see `mlver.codec.entropy`. */
typedef struct {
    const u8 *stored; /* how many shares of each class */
    i64 classes;      /* or 0: the shares are known */
    const u8 *written;
    i64 written_bytes;
    const u32_any *states; /* one a lane */
    i64 lanes;
    const u16_any *words;
    i64 word_count;
} Coded;

/* The residuals of a chunk as they are stored: see `mlver.codec.levels`. */
typedef struct {
    const u8 *plane;
    i64 in_plane;
    Coded coded;
    i64 in_coded;
    const u8 *escapes;
    i64 escaped;
    const u8 *low;
    i64 low_bytes;
} Residuals;

/* How fine the grid is that a chunk's elements are put on. */
typedef struct {
    const u8 *levels; /* one a block */
    i64 origin;
    const int8_t *offsets; /* one a column */
    i64 columns;           /* or 0 */
    i64 mantissa;
} Grid;

static int bit_length(u64 value)
{
    return value ? 64 - __builtin_clzll(value) : 0;
}

#if defined(__AVX2__) && defined(__BMI2__)
#define FINDS_BYTES 1
/* Which bytes of a block there are of a kind: bit i of found[i / 64]. */
INLINE void equal_bytes(const u8 *bytes, u8 value, u64 *found)
{
    const __m256i wanted = _mm256_set1_epi8((char)value);
    for (int i = 0; i < BLOCK / 64; i++) {
        __m256i low = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 64 * i)), wanted);
        __m256i high = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 64 * i + 32)), wanted);
        found[i] = (u32)_mm256_movemask_epi8(low) | (u64)(u32)_mm256_movemask_epi8(high) << 32;
    }
}

/* Which of a block's bytes are the same as others. */
INLINE void same_bytes(const u8 *bytes, const u8 *others, u64 *found)
{
    for (int i = 0; i < BLOCK / 64; i++) {
        __m256i low = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 64 * i)),
                                        _mm256_loadu_si256((const __m256i *)(others + 64 * i)));
        __m256i high = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 64 * i + 32)),
                                         _mm256_loadu_si256((const __m256i *)(others + 64 * i + 32)));
        found[i] = (u32)_mm256_movemask_epi8(low) | (u64)(u32)_mm256_movemask_epi8(high) << 32;
    }
}

/* The same for those above a value; all are below 128. */
INLINE void larger_bytes(const u8 *bytes, u8 value, u64 *found)
{
    const __m256i least = _mm256_set1_epi8((char)value);
    for (int i = 0; i < BLOCK / 64; i++) {
        __m256i low = _mm256_cmpgt_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 64 * i)), least);
        __m256i high = _mm256_cmpgt_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 64 * i + 32)), least);
        found[i] = (u32)_mm256_movemask_epi8(low) | (u64)(u32)_mm256_movemask_epi8(high) << 32;
    }
}
/* The same for those below a value, which are below 128 too. */
INLINE void smaller_bytes(const u8 *bytes, u8 value, u64 *found)
{
    const __m256i most = _mm256_set1_epi8((char)value);
    for (int i = 0; i < BLOCK / 64; i++) {
        __m256i low = _mm256_cmpgt_epi8(most, _mm256_loadu_si256((const __m256i *)(bytes + 64 * i)));
        __m256i high = _mm256_cmpgt_epi8(most, _mm256_loadu_si256((const __m256i *)(bytes + 64 * i + 32)));
        found[i] = (u32)_mm256_movemask_epi8(low) | (u64)(u32)_mm256_movemask_epi8(high) << 32;
    }
}

/* 255 in the bytes of which a bit is set, the lowest for the first. */
INLINE u64 as_bytes(u64 eight_bits)
{
    return _pdep_u64(eight_bits & 255, UINT64_C(0x0101010101010101)) * 255;
}

/* Puts the bytes of a block that are chosen one after another, and returns where they end. Up to eight bytes more are
 * written, but none beyond as many as the block has. */
INLINE u8 *kept_bytes(const u8 *bytes, const u64 *chosen, u8 *to)
{
    for (int i = 0; i < BLOCK / 8; i++) {
        u64 eight, bits = chosen[i / 8] >> (8 * (i & 7)) & 255;
        memcpy(&eight, bytes + 8 * i, 8);
        eight = _pext_u64(eight, as_bytes(bits));
        memcpy(to, &eight, 8);
        to += __builtin_popcountll(bits);
    }
    return to;
}

/* Undoes it for two sources, of which one has the chosen ones; eight bytes more than are taken are read of each. */
INLINE void mixed_bytes(const u8 *chosen_ones, const u8 *others, const u64 *chosen, u8 *to)
{
    for (int i = 0; i < BLOCK / 8; i++) {
        u64 ours, theirs, bits = chosen[i / 8] >> (8 * (i & 7)) & 255, mask = as_bytes(bits);
        int count = __builtin_popcountll(bits);
        memcpy(&ours, chosen_ones, 8);
        memcpy(&theirs, others, 8);
        ours = _pdep_u64(ours, mask) | _pdep_u64(theirs, ~mask);
        memcpy(to + 8 * i, &ours, 8);
        chosen_ones += count;
        others += 8 - count;
    }
}
#else
#define FINDS_BYTES 0
#endif

#define WIDTH 1
#define T u8_any
#define S int8_t
#define NAME(x) x##_1
#include "kernel_width.h"
#include "kernel_levels.h"
#include "kernel_grid.h"
#undef WIDTH
#undef T
#undef S
#undef NAME

#define WIDTH 2
#define T u16_any
#define S int16_t
#define NAME(x) x##_2
#include "kernel_width.h"
#include "kernel_levels.h"
#include "kernel_grid.h"
#undef WIDTH
#undef T
#undef S
#undef NAME

#define WIDTH 4
#define T u32_any
#define S int32_t
#define NAME(x) x##_4
#include "kernel_width.h"
#include "kernel_levels.h"
#include "kernel_grid.h"
#undef WIDTH
#undef T
#undef S
#undef NAME

#define WIDTH 8
#define T u64_any
#define S int64_t
#define NAME(x) x##_8
#include "kernel_width.h"
#include "kernel_levels.h"
#undef WIDTH
#undef T
#undef S
#undef NAME

#define BY_WIDTH(call) \
    switch (width) { \
    case 1: \
        call(_1); \
        break; \
    case 2: \
        call(_2); \
        break; \
    case 4: \
        call(_4); \
        break; \
    default: \
        call(_8); \
        break; \
    }

/* Elements of eight bytes are on no grid. */
#define BY_NARROW_WIDTH(call) \
    switch (width) { \
    case 1: \
        call(_1); \
        break; \
    case 2: \
        call(_2); \
        break; \
    default: \
        call(_4); \
        break; \
    }

/* Which loops these are: what does not fit the Python around it is not used. */
EXPORT i64 mlver_abi(void)
{
    return 6;
}

/* Whether this machine can run what was compiled with -mavx2 -mbmi2. */
EXPORT i64 mlver_has_avx2(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#else
    return 0;
#endif
}

EXPORT void mlver_split(i64 width, const u8 *raw, const u8 *expected, i64 count, i64 move_sign, u8 *out,
                        u64 *first_and_varying){
#define CALL(w) split##w((const void *)raw, (const void *)expected, count, (int)move_sign, out, first_and_varying)
    BY_WIDTH(CALL)
#undef CALL
}

EXPORT i64 mlver_join(i64 width, const u8 *const *planes, const i64 *constants, const u8 *expected, i64 count,
                      i64 sign_moved, u8 *out, const u8 *same)
{
    i64 result;
#define CALL(w) \
    result = join##w(planes, constants, (const void *)expected, count, (int)sign_moved, (void *)out, (const void *)same)
    BY_WIDTH(CALL)
#undef CALL
    return result;
}

EXPORT i64 mlver_learn(i64 width, const u8 *raw, const u8 *base, i64 count, i64 shift, u64 *keys, u32 *seen, u8 *table)
{
    i64 result;
#define CALL(w) result = learn##w((const void *)raw, (const void *)base, count, shift, keys, seen, (void *)table)
    BY_WIDTH(CALL)
#undef CALL
    return result;
}

EXPORT i64 mlver_agreement(i64 width, const u8 *raw, const u8 *base, i64 rows, i64 columns, i64 row_step,
                           i64 column_step)
{
    i64 result;
#define CALL(w) result = agreement##w((const void *)raw, (const void *)base, rows, columns, row_step, column_step)
    BY_WIDTH(CALL)
#undef CALL
    return result;
}

EXPORT i64 mlver_sparse_split(i64 width, const u8 *raw, i64 count, i64 signs_apart, u8 *places, u8 *signs, u8 *values)
{
    i64 result;
#define CALL(w) result = sparse_split##w((const void *)raw, count, (int)signs_apart, places, signs, (void *)values)
    BY_WIDTH(CALL)
#undef CALL
    return result;
}

EXPORT i64 mlver_sparse_join(i64 width, const u8 *places, const u8 *signs, i64 count, const u8 *values, i64 filled,
                             u8 *out)
{
    i64 result;
#define CALL(w) result = sparse_join##w(places, signs, count, (const void *)values, filled, (void *)out)
    BY_WIDTH(CALL)
#undef CALL
    return result;
}

EXPORT void mlver_expect(i64 width, const u8 *base, const Expectation *expectation, i64 count, u8 *out){
#define CALL(w) expect##w((const void *)base, expectation, count, (void *)out)
    BY_WIDTH(CALL)
#undef CALL
}

EXPORT void mlver_place(i64 width, const u8 *values, const u8 *expected, const Grid *grid, i64 count, u8 *classes,
                        u8 *symbols, u8 *depths, u8 *escapes, u8 *low, i64 *sizes){
#define CALL(w) \
    place##w((const void *)values, (const void *)expected, grid, count, classes, symbols, depths, (void *)escapes, low, \
             sizes)
    BY_NARROW_WIDTH(CALL)
#undef CALL
}

EXPORT i64 mlver_grid_classes(i64 width, const u8 *expected, const Grid *grid, i64 count, u8 *classes)
{
    i64 result;
#define CALL(w) result = grid_classes##w((const void *)expected, grid, count, classes)
    BY_NARROW_WIDTH(CALL)
#undef CALL
    return result;
}

EXPORT i64 mlver_displace(i64 width, const u8 *expected, const Grid *grid, i64 count, const u8 *symbols,
                          const u8 *depths, const u8 *escapes, const u8 *low, const i64 *sizes, u8 *out, const u8 *same)
{
    i64 result;
#define CALL(w) \
    result = displace##w((const void *)expected, grid, count, symbols, depths, (const void *)escapes, low, sizes, \
                         (void *)out, (const void *)same)
    BY_NARROW_WIDTH(CALL)
#undef CALL
    return result;
}

/* Nibbles. */

#if FINDS_BYTES
/* Packs 64 bytes, and returns where there are escapes. */
INLINE u64 pack_64(const u8 *bytes, u8 start, u8 *pairs)
{
    const __m256i first = _mm256_set1_epi8((char)start), last = _mm256_set1_epi8(15), weights = _mm256_set1_epi16(0x1001);
    __m256i low = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)bytes), first);
    __m256i high = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(bytes + 32)), first);
    low = _mm256_min_epu8(low, last);
    high = _mm256_min_epu8(high, last);
    __m256i packed = _mm256_packus_epi16(_mm256_maddubs_epi16(low, weights), _mm256_maddubs_epi16(high, weights));
    _mm256_storeu_si256((__m256i *)pairs, _mm256_permute4x64_epi64(packed, 0xD8));
    u64 of_high = (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, last));
    return (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, last)) | of_high << 32;
}

/* Undoes it but for the escapes. */
INLINE u64 unpack_64(const u8 *pairs, u8 start, u8 *bytes)
{
    const __m256i first = _mm256_set1_epi8((char)start), last = _mm256_set1_epi8(15);
    __m256i both = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)pairs), 0xD8);
    __m256i even = _mm256_and_si256(both, last), odd = _mm256_and_si256(_mm256_srli_epi16(both, 4), last);
    __m256i low = _mm256_unpacklo_epi8(even, odd), high = _mm256_unpackhi_epi8(even, odd);
    _mm256_storeu_si256((__m256i *)bytes, _mm256_add_epi8(low, first));
    _mm256_storeu_si256((__m256i *)(bytes + 32), _mm256_add_epi8(high, first));
    u64 of_high = (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, last));
    return (u32)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, last)) | of_high << 32;
}
#endif

EXPORT i64 mlver_pack_nibbles(const u8 *restrict plane, i64 count, i64 start, i64 most, u8 *restrict pairs,
                              u8 *restrict escapes)
{
    i64 escaped = 0, from = 0;
#if FINDS_BYTES
    for (; from + 64 <= count; from += 64) {
        u64 left = pack_64(plane + from, (u8)start, pairs + from / 2);
        if (most - escaped < __builtin_popcountll(left)) return -1;
        for (; left; left &= left - 1)
            escapes[escaped++] = plane[from + __builtin_ctzll(left)];
    }
#endif
    for (; from < count; from += TILE) {
        i64 size = count - from < TILE ? count - from : TILE;
        u8 tile[TILE] = {0};
        int out_of_window = 0;
        for (i64 i = 0; i < size; i++) {
            u8 nibble = (u8)(plane[from + i] - start);
            out_of_window |= nibble > 14;
            tile[i] = nibble > 14 ? 15 : nibble;
        }
        if (out_of_window) {
            for (i64 i = 0; i < size; i++) {
                if (tile[i] == 15) {
                    if (escaped == most) return -1;
                    escapes[escaped++] = plane[from + i];
                }
            }
        }
        for (i64 i = 0; i < (size + 1) / 2; i++)
            pairs[from / 2 + i] = (u8)(tile[2 * i] | tile[2 * i + 1] << 4);
    }
    return escaped;
}

EXPORT i64 mlver_unpack_nibbles(const u8 *restrict pairs, i64 count, i64 start, const u8 *restrict escapes, i64 escaped,
                                u8 *restrict plane)
{
    i64 taken = 0, from = 0;
#if FINDS_BYTES
    for (; from + 64 <= count; from += 64) {
        u64 left = unpack_64(pairs + from / 2, (u8)start, plane + from);
        if (escaped - taken < __builtin_popcountll(left)) return -1;
        for (; left; left &= left - 1)
            plane[from + __builtin_ctzll(left)] = escapes[taken++];
    }
#endif
    for (; from < count; from += TILE) {
        i64 size = count - from < TILE ? count - from : TILE;
        u8 tile[TILE];
        int some = 0;
        for (i64 i = 0; i < (size + 1) / 2; i++) {
            u8 pair = pairs[from / 2 + i];
            tile[2 * i] = pair & 15;
            tile[2 * i + 1] = pair >> 4;
        }
        for (i64 i = 0; i < size; i++) {
            some |= tile[i] == 15;
            plane[from + i] = (u8)(tile[i] + start);
        }
        if (some) {
            for (i64 i = 0; i < size; i++) {
                if (tile[i] == 15) {
                    if (taken == escaped) return -1;
                    plane[from + i] = escapes[taken++];
                }
            }
        }
        if (size & 1 && tile[size]) return -1;
    }
    return taken == escaped ? 0 : -1;
}

#include "kernel_entropy.h"
#include "kernel_sorted.h"
