/* Sums over the elements of two arrays in one pass; mlver/differences/magnitude.py says what they are.
 *
 * Elements are widened to float64, in which the square of any of them is exact and none overflows. NaN and infinities
 * need no look: they come out in the sums. Nothing here allocates; callers own all buffers.
 */

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Tensors are little-endian; they are compared without the kernel on this machine."
#endif

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX2__)
#define LANES 4
#else
#define LANES 2
#endif
#define VECTOR(TYPE) __attribute__((vector_size(LANES * sizeof(TYPE)))) TYPE

typedef uint8_t u8;
typedef int64_t i64;
typedef VECTOR(uint16_t) Halves;
typedef VECTOR(uint32_t) Words;
typedef VECTOR(float) Floats;
typedef VECTOR(double) Doubles;
typedef VECTOR(int64_t) Longs;

/* What is told of all elements. */
typedef struct {
    double from_square, to_square, delta_square, product, max_abs;
    i64 changed;
} Sums;

/* The same, each lane with a part of the elements. */
typedef struct {
    Doubles from_square, to_square, delta_square, product, max_abs;
    Words changed;
} Lanes;

INLINE void add(Lanes *lanes, Words old_bits, Words new_bits)
{
    const Doubles old = __builtin_convertvector((Floats)old_bits, Doubles);
    const Doubles new = __builtin_convertvector((Floats)new_bits, Doubles);
    const Doubles delta = new - old;
    const Longs distance = (Longs)delta & INT64_MAX;
    const Longs larger = (Doubles)distance > lanes->max_abs;
    lanes->from_square += old * old;
    lanes->to_square += new * new;
    lanes->delta_square += delta * delta;
    lanes->product += old * new;
    lanes->max_abs = (Doubles)((distance & larger) | ((Longs)lanes->max_abs & ~larger));
    lanes->changed -= (Words)(old_bits != new_bits);
}

INLINE void finish(const Lanes *lanes, Sums *sums)
{
    memset(sums, 0, sizeof *sums);
    for (int lane = 0; lane < LANES; lane++) {
        sums->from_square += lanes->from_square[lane];
        sums->to_square += lanes->to_square[lane];
        sums->delta_square += lanes->delta_square[lane];
        sums->product += lanes->product[lane];
        sums->max_abs = lanes->max_abs[lane] > sums->max_abs ? lanes->max_abs[lane] : sums->max_abs;
        sums->changed += lanes->changed[lane];
    }
}

/* A tensor may lie at any address. */
INLINE Words load_f32(const u8 *from)
{
    Words bits;
    memcpy(&bits, from, sizeof bits);
    return bits;
}

/* A BF16 is the upper half of an F32. */
INLINE Words load_bf16(const u8 *from)
{
    Halves bits;
    memcpy(&bits, from, sizeof bits);
    return __builtin_convertvector(bits, Words) << 16;
}

#define DEFINE_COMPARE(TYPE, WIDTH)                                                                                    \
    EXPORT void mlver_compare_##TYPE(const u8 *old, const u8 *new, i64 count, Sums *sums)                              \
    {                                                                                                                  \
        const i64 whole = count / LANES * LANES * WIDTH, rest = count % LANES * WIDTH;                                 \
        Lanes lanes;                                                                                                   \
        u8 last[2][LANES * WIDTH] = {{0}}; /* zeros after the last elements add nothing */                             \
        memset(&lanes, 0, sizeof lanes);                                                                               \
        for (i64 at = 0; at < whole; at += LANES * WIDTH)                                                              \
            add(&lanes, load_##TYPE(old + at), load_##TYPE(new + at));                                                 \
        memcpy(last[0], old + whole, (size_t)rest);                                                                    \
        memcpy(last[1], new + whole, (size_t)rest);                                                                    \
        add(&lanes, load_##TYPE(last[0]), load_##TYPE(last[1]));                                                       \
        finish(&lanes, sums);                                                                                          \
    }

DEFINE_COMPARE(f32, 4)
DEFINE_COMPARE(bf16, 2)

EXPORT i64 mlver_abi(void)
{
    return 1;
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
