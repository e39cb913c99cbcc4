/* Residuals of a chunk: measured and sorted in one call, decoded and merged in another. Part of kernel.c. */

/* Measures the residuals of a chunk and takes them apart. `measured` is room for an integer a block. Returns the origin of
 * the levels. */
EXPORT i64 mlver_sort(i64 width, const u8 *raw, const u8 *expected, const u8 *base, const Exponent *exponent, i64 bits,
                      i64 unshifted, i64 coded, i64 count, int32_t *measured, u8 *levels, u8 *plane, u8 *classes,
                      u8 *symbols, u8 *escapes, u8 *low, i64 *sizes)
{
    const i64 blocks = (count + BLOCK - 1) / BLOCK;
    Cut cut = {bits, unshifted, coded, -ANY_LEVEL, ANY_LEVEL};
#define CALL(w) \
    sort##w((const void *)raw, (const void *)expected, (const void *)base, exponent, &cut, count, measured, plane, \
            classes, symbols, (void *)escapes, low, sizes)
    BY_WIDTH(CALL)
    int32_t lowest = INT32_MAX, highest = INT32_MIN, some_odd = 0;
    for (i64 i = 0; i < blocks; i++) {
        some_odd |= measured[i] == ALL_ODD;
        if (measured[i] <= ALL_ODD) continue;
        lowest = measured[i] < lowest ? measured[i] : lowest;
        highest = measured[i] > highest ? measured[i] : highest;
    }
    cut.lowest = lowest == INT32_MAX ? 0 : lowest;
    cut.highest = cut.lowest + MOST_LEVEL - 1;
    /* Levels out of this range are moved into it, which is known only now; hardly any chunk has some. */
    if (some_odd || highest > cut.highest) BY_WIDTH(CALL)
#undef CALL
    for (i64 i = 0; i < blocks; i++) {
        int32_t level = measured[i] < cut.lowest ? cut.lowest : measured[i] > cut.highest ? cut.highest : measured[i];
        levels[i] = measured[i] == ALL_ZERO ? 0 : (u8)(level - cut.lowest + 1);
    }
    return cut.lowest - 1 + unshifted - bits;
}

/* Undoes it, into `out` or, if there is none, to compare with `same`. `room` is for the slots of the entropy coder, and
 * for two bytes of each residual that is coded. Returns 0, or -1 if it cannot be undone or the elements differ. */
EXPORT i64 mlver_merge(i64 width, const u8 *expected, const u8 *base, const Exponent *exponent, const Sorting *sorting,
                       i64 count, const Residuals *parts, u32 *room, u8 *out, const u8 *same)
{
    const i64 sizes[] = {parts->in_plane, parts->in_coded, parts->escaped, parts->low_bytes};
    u8 *symbols = NULL;
    if (parts->in_coded) {
        u8 *classes = (u8 *)(room + MAX_CLASSES * SLOTS);
        i64 found;
        symbols = classes + parts->in_coded;
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
