/* Residuals of a chunk: measured and sorted in one call, decoded and merged in another. Part of kernel.c. */

/* Turns levels as they are measured into those that are stored, and returns the least of the former. */
static i64 store_levels(const int32_t *measured, i64 blocks, u8 *levels)
{
    i64 lowest = INT64_MAX;
    for (i64 i = 0; i < blocks; i++)
        lowest = measured[i] > ALL_ODD && measured[i] < lowest ? measured[i] : lowest;
    lowest = lowest == INT64_MAX ? 0 : lowest;
    for (i64 i = 0; i < blocks; i++) {
        i64 level = (i64)measured[i] - lowest + 1;
        level = level < 1 ? 1 : level > MOST_LEVEL ? MOST_LEVEL : level;
        levels[i] = measured[i] == ALL_ZERO ? 0 : (u8)level;
    }
    return lowest;
}

/* Measures the residuals of a chunk and takes them apart. `values` and `measured` are room for the residuals, and for an
 * integer a block. Returns the origin of the levels. */
EXPORT i64 mlver_sort(i64 width, const u8 *raw, const u8 *expected, const u8 *base, const Exponent *exponent, i64 bits,
                      i64 unshifted, i64 coded, i64 count, u8 *values, int32_t *measured, u8 *levels, u8 *plane,
                      u8 *classes, u8 *symbols, u8 *escapes, u8 *low, i64 *sizes)
{
#define CALL(w) \
    measure##w((const void *)raw, (const void *)expected, (const void *)base, exponent, count, (void *)values, measured)
    BY_WIDTH(CALL)
#undef CALL
    const i64 lowest = store_levels(measured, (count + BLOCK - 1) / BLOCK, levels);
    const Sorting sorting = {levels, lowest - 1 + unshifted - bits, unshifted, coded};
#define CALL(w) \
    sort##w((const void *)values, (const void *)base, exponent, &sorting, count, plane, classes, symbols, \
            (void *)escapes, low, sizes)
    BY_WIDTH(CALL)
#undef CALL
    return sorting.origin;
}

/* Undoes it, into `out` or, if there is none, to compare with `same`. `room` is for the slots of the entropy coder, and
 * for two bytes of each residual that is coded. Returns 0, or -1 if it cannot be undone or the elements differ. */
EXPORT i64 mlver_merge(i64 width, const u8 *expected, const u8 *base, const Exponent *exponent, const Sorting *sorting,
                       i64 count, const Residuals *parts, u32 *room, u8 *out, const u8 *same)
{
    const i64 sizes[] = {parts->in_plane, parts->in_coded, parts->escaped, parts->low_bytes};
    u8 *classes = (u8 *)(room + MAX_CLASSES * SLOTS), *symbols = classes + parts->in_coded;
    if (parts->in_coded) {
        i64 found;
#define CALL(w) found = classes##w((const void *)base, exponent, sorting, count, classes, parts->in_coded)
        BY_WIDTH(CALL)
#undef CALL
        if (found != parts->in_coded || mlver_decode(classes, found, &parts->coded, NULL, room, symbols)) return -1;
    }
    i64 result;
#define CALL(w) \
    result = merge##w((const void *)expected, (const void *)base, exponent, sorting, count, parts->plane, symbols, \
                      (const void *)parts->escapes, parts->low, sizes, (void *)out, (const void *)same)
    BY_WIDTH(CALL)
#undef CALL
    return result;
}
