/* The entropy coder: range asymmetric numeral systems, symbol i in lane i modulo the number of lanes. Part of kernel.c.
 *
 * Source: Jarek Duda, Asymmetric numeral systems, arXiv:1311.2540; Fabian Giesen, Interleaved entropy coders,
 * arXiv:1402.3392, whose vectors these are.
 */

EXPORT void mlver_count(const u8 *classes, const u8 *symbols, i64 count, u32 *counts)
{
    enum { CELLS = MAX_CLASSES * SYMBOLS, APART = 8 };
    u32 apart[CELLS][APART]; /* what is counted next must not wait for what was */
    uint16_t cells[TILE];
    memset(apart, 0, sizeof apart);
    for (i64 from = 0; from < count; from += TILE) {
        const i64 size = count - from < TILE ? count - from : TILE;
        for (i64 i = 0; i < size; i++)
            cells[i] = (uint16_t)(classes[from + i] << SYMBOL_BITS | symbols[from + i]);
        i64 i = 0;
        for (; i + APART <= size; i += APART)
            for (i64 part = 0; part < APART; part++)
                apart[cells[i + part]][part]++;
        for (; i < size; i++)
            apart[cells[i]][0]++;
    }
    for (i64 cell = 0; cell < CELLS; cell++) {
        counts[cell] = 0;
        for (i64 part = 0; part < APART; part++)
            counts[cell] += apart[cell][part];
    }
}

/* The fractions of binary logarithms, in units of 2 ** -16, of 1 + i / 256. */
static void fill_logs(u32 logs[256])
{
    for (u32 i = 0; i < 256; i++) {
        u64 value = (u64)(256 + i) << 22;
        logs[i] = 0;
        for (int bit = LOG_BITS - 1; bit >= 0; bit--) {
            value = value * value >> 30;
            u32 is_two = (u32)(value >> 31); /* a branch would be guessed wrong half of the time */
            logs[i] |= is_two << bit;
            value >>= is_two;
        }
    }
}

/* The binary logarithm of a number from one up, which is rounded down to nine significant bits. */
static u64 log_of(u32 value, const u32 *logs)
{
    int top = bit_length(value) - 1;
    u32 leading = top >= 8 ? value >> (top - 8) : value << (8 - top);
    return (u64)top << LOG_BITS | logs[leading & 255];
}

static u64 times_log(u32 value, const u32 *logs)
{
    return value ? value * log_of(value, logs) : 0;
}

/* Bits, in units of 2 ** -16, that symbols and their tables take if the classes from the last table up share it. */
static u64 tables_size(const u32 *counts, i64 tables, const u32 *logs)
{
    u64 size = 0;
    for (i64 class = 0; class < tables; class ++) {
        const i64 end = class + 1 < tables ? class + 1 : MAX_CLASSES;
        u32 all = 0;
        for (i64 symbol = 0; symbol < SYMBOLS; symbol++) {
            u32 times = counts[class * SYMBOLS + symbol];
            for (i64 other = class + 1; other < end; other++)
                times += counts[other * SYMBOLS + symbol];
            all += times;
            size += (times > 0) * SHARE_BITS - times_log(times, logs);
        }
        size += times_log(all, logs);
    }
    return size;
}

/* The same for symbols by themselves, with shares that are known; without end if there is none for one of them. */
static u64 known_size(const u32 *counts, const u16_any *known, const u32 *logs)
{
    u64 size = 0;
    for (i64 cell = 0; cell < MAX_CLASSES * SYMBOLS; cell++) {
        if (!counts[cell]) continue;
        if (!known[cell]) return UINT64_MAX;
        size += counts[cell] * (((u64)PROBABILITY_BITS << LOG_BITS) - log_of(known[cell], logs));
    }
    return size;
}

/* Chooses shares by how often symbols come: see `mlver.codec.portable_entropy`. */
static void fill_shares(const u32 *counts, u16_any *shares)
{
    u64 all = 0;
    i64 most = 0, left = SLOTS;
    for (i64 symbol = 0; symbol < SYMBOLS; symbol++)
        all += counts[symbol];
    for (i64 symbol = 0; symbol < SYMBOLS; symbol++) {
        u64 share = counts[symbol] && counts[0] != all ? ((u64)counts[symbol] * SLOTS + all / 2) / all : 0;
        share += !share && counts[symbol] && counts[0] != all;
        shares[symbol] = (uint16_t)share;
        left -= (i64)share;
        most = share > shares[most] ? symbol : most;
    }
    if (counts[0] != all) shares[most] = (uint16_t)(shares[most] + left);
}

/* Fills the shares of all classes by a number of tables, and writes those that are stored into `written`, after how many
 * there are of each class; returns how many bytes these are. */
static i64 write_tables(const u32 *counts, i64 tables, u16_any *shares, u8 *stored, i64 *stored_classes, u8 *written)
{
    u32 merged[SYMBOLS];
    i64 at = 0, classes = 0;
    memset(merged, 0, sizeof merged);
    for (i64 class = tables - 1; class < MAX_CLASSES; class ++)
        for (i64 symbol = 0; symbol < SYMBOLS; symbol++)
            merged[symbol] += counts[class * SYMBOLS + symbol];
    for (i64 class = 0; class < MAX_CLASSES; class ++) {
        u16_any *of_class = shares + class * SYMBOLS;
        if (class >= tables) {
            memcpy(of_class, shares + (tables - 1) * SYMBOLS, SYMBOLS * sizeof *shares);
            continue;
        }
        const u32 *by = class == tables - 1 ? merged : counts + class * SYMBOLS;
        fill_shares(by, of_class);
        for (i64 symbol = 0; symbol < SYMBOLS; symbol++)
            if (by[symbol]) classes = class + 1;
    }
    for (i64 class = 0; class < classes; class ++) {
        const u16_any *of_class = shares + class * SYMBOLS;
        i64 last = SYMBOLS;
        while (last && !of_class[last - 1])
            last--;
        stored[class] = (u8)last;
        for (i64 symbol = 0; symbol < last; symbol++) {
            u32 share = of_class[symbol];
            written[at++] = (u8)(share < 128 ? share : 128 | (share & 127));
            if (share >= 128) written[at++] = (u8)(share >> 7);
        }
    }
    *stored_classes = classes;
    return at;
}

/* Reads what `write_tables` writes; returns 0, or -1 if there are not as many shares. */
static i64 read_shares(const u8 *stored, i64 classes, const u8 *written, i64 size, u16_any *shares)
{
    i64 at = 0;
    memset(shares, 0, (size_t)classes * SYMBOLS * sizeof *shares);
    for (i64 class = 0; class < classes; class ++) {
        if (stored[class] > SYMBOLS) return -1;
        for (i64 symbol = 0; symbol < stored[class]; symbol++) {
            if (at == size) return -1;
            u32 share = written[at++];
            if (share >= 128) {
                if (at == size || written[at] >= 128) return -1;
                share = (share & 127) | (u32)written[at++] << 7;
            }
            shares[class * SYMBOLS + symbol] = (uint16_t)share;
        }
    }
    return at == size ? 0 : -1;
}

/* What symbols are coded by: by class and symbol. */
typedef struct {
    u32 reciprocal;
    u32 share_and_start; /* the share less one, and above that what is before it */
} Code;

typedef struct {
    Code of[MAX_CLASSES * SYMBOLS];
} Codes;

static void fill_codes(const u16_any *shares, Codes *codes)
{
    for (i64 class = 0; class < MAX_CLASSES; class ++) {
        const i64 row = class * SYMBOLS;
        if (class && !memcmp(shares + row, shares + row - SYMBOLS, SYMBOLS * sizeof *shares)) {
            memcpy(codes->of + row, codes->of + row - SYMBOLS, SYMBOLS * sizeof *codes->of);
            continue;
        }
        u32 start = 0, all = 0;
        for (i64 symbol = 0; symbol < SYMBOLS; symbol++)
            all += shares[row + symbol];
        for (i64 symbol = 0; symbol < SYMBOLS; symbol++) {
            /* Without shares nothing is coded, and all symbols are 0. */
            i64 at = row + symbol;
            u32 share = all ? shares[at] : SLOTS;
            if (share) {
                /* Rounded down: a quotient by it is right, or one too small. */
                codes->of[at].reciprocal = share > 1 ? (u32)((UINT64_C(1) << 32) / share) : UINT32_MAX;
                codes->of[at].share_and_start = (share - 1) | start << PROBABILITY_BITS;
            }
            start += share;
        }
    }
}

static u32 coded(u32 state, u32 reciprocal, u32 share, u32 start)
{
    u32 whole = (u32)((u64)state * reciprocal >> 32), rest = state - whole * share;
    u32 too_small = rest >= share;
    return ((whole + too_small) << PROBABILITY_BITS) + rest - (share & (0 - too_small)) + start;
}

#if defined(__AVX2__)
/* Codes from four places, one by one: processors make a gather out of more steps than that. */
INLINE __m256i four_codes(const Codes *codes, __m128i places)
{
    const u64 first = (u64)_mm_cvtsi128_si64(places), second = (u64)_mm_extract_epi64(places, 1);
    __m128i of[4];
    of[0] = _mm_loadl_epi64((const __m128i *)(codes->of + (u32)first));
    of[1] = _mm_loadl_epi64((const __m128i *)(codes->of + (first >> 32)));
    of[2] = _mm_loadl_epi64((const __m128i *)(codes->of + (u32)second));
    of[3] = _mm_loadl_epi64((const __m128i *)(codes->of + (second >> 32)));
    __m128i low = _mm_unpacklo_epi64(of[0], of[1]), high = _mm_unpacklo_epi64(of[2], of[3]);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* Where the lanes of each set go, so that they are the last of eight. */
static void fill_sources(u8 sources[256][8])
{
    for (unsigned set = 0; set < 256; set++) {
        int next = 8 - __builtin_popcount(set);
        memset(sources[set], 0, 8);
        for (u8 lane = 0; lane < 8; lane++)
            if (set >> lane & 1) sources[set][next++] = lane;
    }
}

/* Codes eight symbols as the plain loop does; words end before `end`, and eight of them are written. */
static i64 encode_eight(const u8 *classes, const u8 *symbols, const Codes *codes, u32 *states, u16_any *end,
                        const u8 sources[256][8])
{
    const __m256i low = _mm256_set1_epi32(SLOTS - 1), one = _mm256_set1_epi32(1), sign = _mm256_set1_epi32(INT32_MIN);
    __m256i state = _mm256_loadu_si256((const __m256i *)states);
    __m256i class = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)classes));
    __m256i symbol = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)symbols));
    __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(class, _mm256_set1_epi32(SYMBOLS)), symbol);
    /* Half as many loads as if the two were apart; what is in the middle of each half comes out the other way round. */
    at = _mm256_permutevar8x32_epi32(at, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
    __m256 half = _mm256_castsi256_ps(four_codes(codes, _mm256_castsi256_si128(at)));
    __m256 other = _mm256_castsi256_ps(four_codes(codes, _mm256_extracti128_si256(at, 1)));
    __m256i both = _mm256_castps_si256(_mm256_shuffle_ps(half, other, 0xDD));
    __m256i reciprocal = _mm256_castps_si256(_mm256_shuffle_ps(half, other, 0x88));
    __m256i below = _mm256_and_si256(both, low), share = _mm256_add_epi32(below, one);
    /* The state is full if its 12 highest bits are the share or more. */
    __m256i is_full = _mm256_cmpgt_epi32(_mm256_srli_epi32(state, 32 - PROBABILITY_BITS), below);
    unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(is_full));
    __m256i source = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)sources[set]));
    __m256i given = _mm256_permutevar8x32_epi32(_mm256_and_si256(state, _mm256_set1_epi32(65535)), source);
    _mm_storeu_si128((__m128i *)(end - 8),
                     _mm_packus_epi32(_mm256_castsi256_si128(given), _mm256_extracti128_si256(given, 1)));
    state = _mm256_blendv_epi8(state, _mm256_srli_epi32(state, 16), is_full);
    __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(state, reciprocal), 32);
    __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(state, 32), _mm256_srli_epi64(reciprocal, 32));
    __m256i whole = _mm256_blend_epi32(even, odd, 0xAA);
    __m256i rest = _mm256_sub_epi32(state, _mm256_mullo_epi32(whole, share));
    __m256i too_small = _mm256_cmpgt_epi32(_mm256_xor_si256(rest, sign), _mm256_xor_si256(below, sign));
    whole = _mm256_sub_epi32(whole, too_small);
    rest = _mm256_sub_epi32(rest, _mm256_and_si256(share, too_small));
    state = _mm256_add_epi32(_mm256_slli_epi32(whole, PROBABILITY_BITS), rest);
    state = _mm256_add_epi32(state, _mm256_srli_epi32(both, PROBABILITY_BITS));
    _mm256_storeu_si256((__m256i *)states, state);
    return __builtin_popcount(set);
}
#endif

#if defined(__AVX2__)
/* For functions of their own: a machine with AVX2 need not have these. */
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl")))

static int has_wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

/* As `encode_eight` does, the first lanes of a row, a multiple of sixteen; no words are written but those given. */
WIDE static i64 encode_wide_row(const u8 *classes, const u8 *symbols, i64 lanes, const Codes *codes, u32 *states,
                                u16_any *end)
{
    const __m512i of_first = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i low = _mm512_set1_epi32(SLOTS - 1), one = _mm512_set1_epi32(1);
    const __m512i of_second = _mm512_add_epi32(of_first, one);
    i64 given = 0;
    for (i64 i = lanes - 16; i >= 0; i -= 16) {
        __m512i state = _mm512_loadu_si512(states + i);
        __m512i class = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(classes + i)));
        __m512i at = _mm512_slli_epi32(class, SYMBOL_BITS);
        at = _mm512_add_epi32(at, _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(symbols + i))));
        __m256i left = _mm512_castsi512_si256(at), right = _mm512_extracti64x4_epi64(at, 1);
        __m512i half = _mm512_castsi256_si512(four_codes(codes, _mm256_castsi256_si128(left)));
        __m512i other = _mm512_castsi256_si512(four_codes(codes, _mm256_castsi256_si128(right)));
        half = _mm512_inserti64x4(half, four_codes(codes, _mm256_extracti128_si256(left, 1)), 1);
        other = _mm512_inserti64x4(other, four_codes(codes, _mm256_extracti128_si256(right, 1)), 1);
        __m512i reciprocal = _mm512_permutex2var_epi32(half, of_first, other);
        __m512i both = _mm512_permutex2var_epi32(half, of_second, other);
        __m512i below = _mm512_and_si512(both, low), share = _mm512_add_epi32(below, one);
        __mmask16 full = _mm512_cmpgt_epu32_mask(_mm512_srli_epi32(state, 32 - PROBABILITY_BITS), below);
        __m256i words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, state));
        const int more = __builtin_popcount(full);
        given += more;
        _mm256_mask_storeu_epi16((void *)(end - given), (__mmask16)((1u << more) - 1), words);
        state = _mm512_mask_srli_epi32(state, full, state, 16);
        __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(state, reciprocal), 32);
        __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(state, 32), _mm512_srli_epi64(reciprocal, 32));
        __m512i whole = _mm512_mask_blend_epi32(0xAAAA, even, odd);
        __m512i rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(whole, share));
        __mmask16 too_small = _mm512_cmpgt_epu32_mask(rest, below);
        whole = _mm512_mask_add_epi32(whole, too_small, whole, one);
        rest = _mm512_mask_sub_epi32(rest, too_small, rest, share);
        state = _mm512_add_epi32(_mm512_slli_epi32(whole, PROBABILITY_BITS), rest);
        _mm512_storeu_si512(states + i, _mm512_add_epi32(state, _mm512_srli_epi32(both, PROBABILITY_BITS)));
    }
    return given;
}
#endif

/* Writes the stream backwards into words[0 … count) and returns where it begins; states are those to start from. */
static i64 encode_symbols(const u8 *classes, const u8 *symbols, i64 count, const u16_any *shares, i64 lanes,
                          u16_any *words, u32_any *out_states)
{
    Codes codes;
    u32 states[MAX_LANES];
    fill_codes(shares, &codes);
#if defined(__AVX2__)
    u8 sources[256][8];
    fill_sources(sources);
    const int is_wide = has_wide();
#endif
    for (i64 lane = 0; lane < lanes; lane++)
        states[lane] = STATE_LOW;
    i64 at = count, lane = count % lanes;
    for (i64 i = count; i > 0;) {
        lane = lane ? lane : lanes;
#if defined(__AVX2__)
        if (is_wide && lane % 16 == 0) {
            i -= lane;
            at -= encode_wide_row(classes + i, symbols + i, lane, &codes, states, words + at);
            lane = 0;
            continue;
        }
        /* As many words are free as symbols are left. */
        if (lane % 8 == 0 && lane >= 8 && i >= 8) {
            i -= 8;
            lane -= 8;
            at -= encode_eight(classes + i, symbols + i, &codes, states + lane, words + at, (const u8(*)[8])sources);
            continue;
        }
#endif
        i -= 1;
        lane -= 1;
        i64 cell = classes[i] * SYMBOLS + symbols[i];
        const Code code = codes.of[cell];
        u32 share = (code.share_and_start & (SLOTS - 1)) + 1, state = states[lane];
        words[at - 1] = (uint16_t)state;
        u32 full = state >> (32 - PROBABILITY_BITS) >= share;
        at -= full;
        states[lane] = coded(state >> (16 * full), code.reciprocal, share, code.share_and_start >> PROBABILITY_BITS);
    }
    for (i64 lane_out = 0; lane_out < lanes; lane_out++)
        out_states[lane_out] = states[lane_out];
    return at;
}

static i64 fill_slots(const u16_any *shares, i64 classes, u32 *slots)
{
    for (i64 class = 0; class < classes; class ++) {
        u32 at = 0;
        for (u32 symbol = 0; symbol < SYMBOLS; symbol++) {
            u32 share = shares[class * SYMBOLS + symbol];
            if (share > SLOTS - at) return -1;
            for (u32 i = 0; i < share; i++)
                slots[class * SLOTS + at + i] = symbol << 24 | (share - 1) << 12 | i;
            at += share;
        }
        if (at && at != SLOTS) return -1;
        /* Without shares nothing is coded, and all symbols are 0. */
        for (u32 i = 0; !at && i < SLOTS; i++)
            slots[class * SLOTS + i] = (SLOTS - 1) << 12 | i;
    }
    return 0;
}

static u32 advanced(u32 state, u32 slot)
{
    return ((slot >> 12 & (SLOTS - 1)) + 1) * (state >> PROBABILITY_BITS) + (slot & (SLOTS - 1));
}

#if defined(__AVX2__)
/* Slots from four places, one by one: processors make a gather out of more steps than that. */
INLINE __m128i four_slots(const u32 *slots, __m128i places)
{
    const u64 first = (u64)_mm_cvtsi128_si64(places), second = (u64)_mm_extract_epi64(places, 1);
    __m128i found = _mm_cvtsi32_si128((int)slots[(u32)first]);
    found = _mm_insert_epi32(found, (int)slots[first >> 32], 1);
    found = _mm_insert_epi32(found, (int)slots[(u32)second], 2);
    return _mm_insert_epi32(found, (int)slots[second >> 32], 3);
}

INLINE __m256i eight_slots(const u32 *slots, __m256i places)
{
    __m128i low = four_slots(slots, _mm256_castsi256_si128(places));
    __m128i high = four_slots(slots, _mm256_extracti128_si256(places, 1));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* Where the words go that the empty ones of eight lanes take, for each set of these. */
static void fill_places(u8 places[256][8])
{
    for (unsigned set = 0; set < 256; set++) {
        u8 next = 0;
        for (int lane = 0; lane < 8; lane++) {
            places[set][lane] = next;
            next += set >> lane & 1;
        }
    }
}

/* Decodes a row, whose lanes are a multiple of eight, as the plain loop does; there are eight words more than it takes.
 * Returns the number of words taken. */
static i64 decode_row(const u8 *classes, u8 last, i64 lanes, const u32 *slots, u32 *states, const u16_any *words,
                      const u8 places[256][8], u8 *symbols)
{
    const __m128i highest = _mm_set1_epi8((char)last);
    const __m256i low = _mm256_set1_epi32(SLOTS - 1), one = _mm256_set1_epi32(1), none = _mm256_setzero_si256();
    i64 taken = 0;
    for (i64 i = 0; i < lanes; i += 8) {
        __m256i state = _mm256_loadu_si256((const __m256i *)(states + i));
        __m256i class = _mm256_cvtepu8_epi32(_mm_min_epu8(_mm_loadl_epi64((const __m128i *)(classes + i)), highest));
        __m256i at = _mm256_or_si256(_mm256_slli_epi32(class, PROBABILITY_BITS), _mm256_and_si256(state, low));
        __m256i slot = eight_slots(slots, at);
        __m256i symbol = _mm256_srli_epi32(slot, 24);
        __m128i narrow = _mm_packus_epi32(_mm256_castsi256_si128(symbol), _mm256_extracti128_si256(symbol, 1));
        _mm_storel_epi64((__m128i *)(symbols + i), _mm_packus_epi16(narrow, narrow));
        __m256i share = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(slot, PROBABILITY_BITS), low), one);
        state = _mm256_mullo_epi32(share, _mm256_srli_epi32(state, PROBABILITY_BITS));
        state = _mm256_add_epi32(state, _mm256_and_si256(slot, low));
        __m256i is_empty = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), none);
        unsigned set = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(is_empty));
        __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(words + taken)));
        __m256i place = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)places[set]));
        __m256i refilled = _mm256_or_si256(_mm256_slli_epi32(state, 16), _mm256_permutevar8x32_epi32(next, place));
        _mm256_storeu_si256((__m256i *)(states + i), _mm256_blendv_epi8(state, refilled, is_empty));
        taken += __builtin_popcount(set);
    }
    return taken;
}
#endif

#if defined(__AVX2__)
/* As `decode_row` does, for lanes that are a multiple of sixteen; there are sixteen words more than it takes. */
WIDE static i64 decode_wide_row(const u8 *classes, u8 last, i64 lanes, const u32 *slots, u32 *states,
                                const u16_any *words, u8 *symbols)
{
    const __m128i highest = _mm_set1_epi8((char)last);
    const __m512i low = _mm512_set1_epi32(SLOTS - 1), one = _mm512_set1_epi32(1);
    const __m512i lowest_state = _mm512_set1_epi32((int)STATE_LOW);
    i64 taken = 0;
    for (i64 i = 0; i < lanes; i += 16) {
        __m512i state = _mm512_loadu_si512(states + i);
        __m512i class = _mm512_cvtepu8_epi32(_mm_min_epu8(_mm_loadu_si128((const __m128i *)(classes + i)), highest));
        __m512i at = _mm512_or_si512(_mm512_slli_epi32(class, PROBABILITY_BITS), _mm512_and_si512(state, low));
        __m512i slot = _mm512_castsi256_si512(eight_slots(slots, _mm512_castsi512_si256(at)));
        slot = _mm512_inserti64x4(slot, eight_slots(slots, _mm512_extracti64x4_epi64(at, 1)), 1);
        _mm_storeu_si128((__m128i *)(symbols + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(slot, 24)));
        __m512i share = _mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(slot, PROBABILITY_BITS), low), one);
        state = _mm512_mullo_epi32(share, _mm512_srli_epi32(state, PROBABILITY_BITS));
        state = _mm512_add_epi32(state, _mm512_and_si512(slot, low));
        __mmask16 empty = _mm512_cmplt_epu32_mask(state, lowest_state);
        __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(words + taken)));
        next = _mm512_maskz_expand_epi32(empty, next);
        state = _mm512_mask_or_epi32(state, empty, _mm512_slli_epi32(state, 16), next);
        _mm512_storeu_si512(states + i, state);
        taken += __builtin_popcount(empty);
    }
    return taken;
}
#endif

/* Undoes `encode_symbols`; returns -1 if it cannot be undone. */
static i64 decode_symbols(const u8 *classes, i64 count, const u16_any *shares, i64 class_count, i64 lanes,
                          const u32_any *in_states, const u16_any *words, i64 word_count, u32 *slots, u8 *symbols)
{
    u32 states[MAX_LANES];
    if (lanes < 1 || lanes > MAX_LANES || class_count > MAX_CLASSES || fill_slots(shares, class_count, slots))
        return -1;
    for (i64 lane = 0; lane < lanes; lane++)
        states[lane] = in_states[lane];
    i64 taken = 0;
    const u8 last = (u8)(class_count - 1); /* classes above take its table */
#if defined(__AVX2__)
    u8 places[256][8];
    fill_places(places);
    const int is_wide = has_wide();
#endif
    for (i64 from = 0; from < count; from += lanes) {
        i64 size = count - from < lanes ? count - from : lanes;
#if defined(__AVX2__)
        if (is_wide && size % 16 == 0 && word_count - taken >= size + 16) {
            taken += decode_wide_row(classes + from, last, size, slots, states, words + taken, symbols + from);
            continue;
        }
        if (size % 8 == 0 && word_count - taken >= size + 8) {
            taken += decode_row(classes + from, last, size, slots, states, words + taken, (const u8(*)[8])places,
                                symbols + from);
            continue;
        }
#endif
        if (word_count - taken >= size) {
            /* At most one word a symbol is taken, so the one looked at is always there. */
            for (i64 i = 0; i < size; i++) {
                u8 class = classes[from + i] < last ? classes[from + i] : last;
                u32 slot = slots[class * SLOTS + (states[i] & (SLOTS - 1))];
                symbols[from + i] = (u8)(slot >> 24);
                u32 state = advanced(states[i], slot);
                u32 empty = state < STATE_LOW; /* a branch would be guessed wrong half of the time */
                states[i] = state << (16 * empty) | (words[taken] & (0 - empty));
                taken += empty;
            }
            continue;
        }
        for (i64 i = 0; i < size; i++) {
            u8 class = classes[from + i] < last ? classes[from + i] : last;
            u32 slot = slots[class * SLOTS + (states[i] & (SLOTS - 1))];
            symbols[from + i] = (u8)(slot >> 24);
            u32 state = advanced(states[i], slot);
            if (state < STATE_LOW) {
                if (taken == word_count) return -1;
                state = state << 16 | words[taken++];
            }
            states[i] = state;
        }
    }
    for (i64 lane = 0; lane < lanes; lane++)
        if (states[lane] != STATE_LOW) return -1;
    return taken == word_count ? 0 : -1;
}

/* Codes symbols by the tables that take least: one of two numbers of them, which are written, or those that are known, if
 * any are. told: for how many classes there are shares (none if these are known), how many bytes these are, and the first
 * of the words, which end at `count`. */
EXPORT void mlver_code(const u8 *classes, const u8 *symbols, i64 count, i64 few, i64 many, const u16_any *known,
                       i64 lanes, u8 *stored, u8 *written, u32_any *states, u16_any *words, i64 *told)
{
    u32 counts[MAX_CLASSES * SYMBOLS], logs[256];
    u16_any shares[MAX_CLASSES * SYMBOLS];
    mlver_count(classes, symbols, count, counts);
    fill_logs(logs);
    const u64 of_few = tables_size(counts, few, logs), of_many = tables_size(counts, many, logs);
    const u64 least = of_few <= of_many ? of_few : of_many;
    told[0] = told[1] = 0;
    if (known && known_size(counts, known, logs) < least)
        memcpy(shares, known, sizeof shares);
    else
        told[1] = write_tables(counts, of_few <= of_many ? few : many, shares, stored, told, written);
    told[2] = encode_symbols(classes, symbols, count, shares, lanes, words, states);
}

/* Undoes it, with the same classes; `slots` has room for those of all classes. Returns 0, or -1 if it cannot be undone. */
EXPORT i64 mlver_decode(const u8 *classes, i64 count, const Coded *coded, const u16_any *known, u32 *slots, u8 *symbols)
{
    u16_any shares[MAX_CLASSES * SYMBOLS];
    i64 class_count = coded->classes;
    if (class_count > MAX_CLASSES || (!class_count && !known)) return -1;
    if (!class_count)
        memcpy(shares, known, sizeof shares);
    else if (read_shares(coded->stored, class_count, coded->written, coded->written_bytes, shares))
        return -1;
    return decode_symbols(classes, count, shares, class_count ? class_count : MAX_CLASSES, coded->lanes, coded->states,
                          coded->words, coded->word_count, slots, symbols);
}
