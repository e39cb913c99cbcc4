"""Chunk bytes ↔ encoded bytes: the step between identity and packs.

    add:   files → spans → chunks → identity → known already? → **encode** → pack → …
    pull:  … → fetch packs' ranges → **decode** → verify → files

Every encoding has a number, which a pack's frame records together with the raw size. An encoding never changes a
chunk's id. Nothing here knows of files or packs; whatever arrives to be decoded is treated as hostile.

Numbers (append-only; all integers are unsigned and little-endian):

====== ======= =====================================================================================
number name    payload
====== ======= =====================================================================================
0      RAW     the raw bytes
1      ZSTD    one zstd frame (RFC 8878) with its content size, which equals the raw size; no dictionary
2      PLANES  byte planes, see `mlver.codec.planes`
3      SPARSE  a bitmap of zeros, then the other elements as planes, see `mlver.codec.sparse`
4–15           free
16     DELTA   against a base: residuals as byte planes, see `mlver.codec.delta`
17     LEVELS  against a base: residuals sorted by the size to expect, see `mlver.codec.levels`
18     CAST    against a base of another type: see `mlver.codec.cast`
19     GRID    against a base: places on a grid as fine as the step, see `mlver.codec.grid`
20–31          reserved for encodings against a base
32–255         free
====== ======= =====================================================================================
"""

from __future__ import annotations

from mlver.codec import alone
from mlver.codec.encoded import (
    BASE_ENCODINGS,
    CAST,
    DELTA,
    ELEMENT_BYTES,
    GRID,
    LEVELS,
    MAX_CHUNK_BYTES,
    PLANES,
    RAW,
    SPARSE,
    ZSTD,
    Choice,
    Effort,
    Encoded,
)
from mlver.codec.frames import Buffer
from mlver.errors import IntegrityError

__all__ = [
    "BASE_ENCODINGS",
    "CAST",
    "DELTA",
    "GRID",
    "LEVELS",
    "MAX_CHUNK_BYTES",
    "PLANES",
    "RAW",
    "SPARSE",
    "ZSTD",
    "Choice",
    "Effort",
    "Encoded",
    "decode",
    "decodes_to",
    "encode",
]


def encode(
    raw: Buffer,
    dtype: str | None,
    base: Buffer | None = None,
    effort: Effort = "fast",
    *,
    base_dtype: str | None = None,
    base_skip: int = 0,
    columns: int = 0,
    column: int = 0,
    choice: Choice | None = None,
) -> Encoded:
    """Encode one chunk, at most as large as it was.

    Releases the GIL for nearly all of its time on chunks of MiB, and may be called from many threads at once.

    Args:
        raw: The chunk, a contiguous buffer of bytes of at most `MAX_CHUNK_BYTES`.
        dtype: safetensors name of the elements, the first of which begins at the chunk's first byte; None, or a name
            that is not known here, for bytes of no known structure.
        base: The elements at the same positions of a tensor that may resemble this one. Whether they help is told from
            the encoding of what is returned: `BASE_ENCODINGS` or not. They may end before the chunk does.
        effort: How much time a base is worth.
        base_dtype: The type of the base's elements, if it is another one: what `raw` may have been cast from.
        base_skip: Bytes of `base` before the element that corresponds to the first one; only with another type.
        columns: Elements in a row of the tensor: its last dimension, if it has more than one; 0 if it has no rows. The
            rows of an embedding may have moved alike, and what was added may be of low rank.
        column: The column of the first element.
        choice: How a chunk of its kind was encoded before it: it is encoded likewise if that makes about as much
            of it as of the other, and what suits it best is found out anew if not.

    Raises:
        ValueError: `raw` is larger than `MAX_CHUNK_BYTES`, or there is something to skip in a base of the same type.
    """
    if len(raw) > MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk of {len(raw)} bytes is larger than {MAX_CHUNK_BYTES}")
    if base_skip and base_dtype in (None, dtype):
        raise ValueError("elements of one type are at the same places in a chunk and its base")
    if dtype is not None and base is not None and dtype in ELEMENT_BYTES:
        from mlver.codec import against

        if base_dtype not in (None, dtype):
            return against.encode_cast(raw, dtype, base, base_dtype, base_skip)
        return against.encode(raw, against.Place(dtype, columns, column), base, effort, choice)
    return alone.encode(raw, dtype, choice)


def decodes_to(encoded: Encoded, raw: Buffer, base: Buffer | None = None) -> bool:
    """Tell whether `decode` would give back `raw` of what was encoded: every byte is decoded and compared.

    It takes a fraction of the time of `decode`, since nothing is put together or written.

    Args:
        encoded: What `encode` returned.
        raw: What it was given.
        base: The base that it was given, if the encoding needs one.

    Raises:
        IntegrityError: It is no valid encoding of `raw` at all.
    """
    if encoded.encoding not in BASE_ENCODINGS:
        return alone.decodes_to(encoded, raw)
    if base is None:
        raise IntegrityError(f"A chunk of encoding {encoded.encoding} needs a base chunk, and names none.")
    from mlver.codec import against

    return against.decodes_to(encoded, raw, base)


def decode(encoding: int, payload: Buffer, raw_size: int, base: Buffer | None = None) -> bytes | memoryview:
    """Give back the raw bytes of one chunk.

    Sizes that the payload declares are compared with `raw_size` before anything is allocated by them. That the bytes
    are the right ones is for the caller to check, by the chunk's id.

    Args:
        encoding: Number of the encoding.
        payload: What `encode` returned, in one piece.
        raw_size: Size of the chunk in bytes.
        base: What `encode` was given, for the encodings that need one.

    Returns:
        Exactly `raw_size` bytes; they may alias `payload`.

    Raises:
        IntegrityError: The encoding is unknown or needs a base that is absent, `raw_size` is out of range, or
            `payload` is not a valid encoding of `raw_size` bytes.
    """
    if not 0 <= raw_size <= MAX_CHUNK_BYTES:
        raise IntegrityError(f"A chunk claims {raw_size} bytes; at most {MAX_CHUNK_BYTES} are allowed.")
    if encoding not in BASE_ENCODINGS:
        return alone.decode(encoding, payload, raw_size)
    if base is None:
        raise IntegrityError(f"A chunk of encoding {encoding} needs a base chunk, and names none.")
    from mlver.codec import against

    return against.decode(encoding, payload, raw_size, base)
