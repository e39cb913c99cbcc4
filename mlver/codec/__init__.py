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
16–31          reserved for encodings against a base chunk
32–255         free
====== ======= =====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from mlver.codec import frames
from mlver.codec.frames import Buffer
from mlver.errors import IntegrityError

MAX_CHUNK_BYTES = 16 << 20
"""No chunk is larger; a declared size above it is refused before anything is allocated."""

RAW, ZSTD, PLANES, SPARSE = 0, 1, 2, 3
BASE_ENCODINGS = range(16, 32)

_ELEMENT_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32", "C64"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C128"), 8),
}
_WIDE_INTEGERS = frozenset({"I16", "U16", "I32", "U32", "I64", "U64"})
_PLANES_ENOUGH = 16
"""Integers whose planes are this many times as small are not tried as a whole."""
_SIGN_MOVED_DTYPES = frozenset({"BF16", "F32", "C64"})


@dataclass(frozen=True, slots=True)
class Encoded:
    """A chunk as it is stored.

    Attributes:
        encoding: Number of the encoding, one byte on disk.
        parts: The payload is their concatenation. They may alias the buffer that was given to `encode`: write them
            before that buffer is reused.
    """

    encoding: int
    parts: tuple[Buffer, ...]

    @property
    def size_bytes(self) -> int:
        """Size of the payload in bytes."""
        return sum(len(part) for part in self.parts)


def encode(raw: Buffer, dtype: str | None) -> Encoded:
    """Encode one chunk, at most as large as it was.

    Releases the GIL for nearly all of its time on chunks of MiB, and may be called from many threads at once.

    Args:
        raw: The chunk, a contiguous buffer of bytes of at most `MAX_CHUNK_BYTES`.
        dtype: safetensors name of the elements, the first of which begins at the chunk's first byte; None, or a name
            that is not known here, for bytes of no known structure.

    Raises:
        ValueError: `raw` is larger than `MAX_CHUNK_BYTES`.
    """
    if len(raw) > MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk of {len(raw)} bytes is larger than {MAX_CHUNK_BYTES}")
    element_bytes = _ELEMENT_BYTES.get(dtype or "")
    if element_bytes is None:
        return _encode_bytes(raw)
    encoded = _encode_elements(raw, element_bytes, dtype in _SIGN_MOVED_DTYPES)
    if dtype not in _WIDE_INTEGERS or encoded.size_bytes < len(raw) / _PLANES_ENOUGH:
        return encoded
    # Integers may be ids or indices that repeat as sequences, which planes tear apart and samples do not show.
    return min(encoded, Encoded(ZSTD, (frames.compress_always(raw),)), key=lambda candidate: candidate.size_bytes)


def decode(encoding: int, payload: Buffer, raw_size: int, base: Buffer | None = None) -> bytes | memoryview:
    """Give back the raw bytes of one chunk.

    Sizes that the payload declares are compared with `raw_size` before anything is allocated by them. That the bytes
    are the right ones is for the caller to check, by the chunk's id.

    Args:
        encoding: Number of the encoding.
        payload: What `encode` returned, in one piece.
        raw_size: Size of the chunk in bytes.
        base: Raw bytes of the base chunk, for the encodings that need one.

    Returns:
        Exactly `raw_size` bytes; they may alias `payload`.

    Raises:
        IntegrityError: The encoding is unknown or needs a base that is absent, `raw_size` is out of range, or
            `payload` is not a valid encoding of `raw_size` bytes.
    """
    if not 0 <= raw_size <= MAX_CHUNK_BYTES:
        raise IntegrityError(f"A chunk claims {raw_size} bytes; at most {MAX_CHUNK_BYTES} are allowed.")
    if encoding == RAW:
        return _decode_raw(payload, raw_size)
    if encoding == ZSTD:
        return frames.decompress(payload, raw_size)
    if encoding == PLANES:
        from mlver.codec import planes

        return planes.decode(payload, raw_size)
    if encoding == SPARSE:
        from mlver.codec import sparse

        return sparse.decode(payload, raw_size)
    if encoding in BASE_ENCODINGS and base is None:
        raise IntegrityError(f"A chunk of encoding {encoding} needs a base chunk, and names none.")
    raise IntegrityError(f"A chunk has encoding {encoding}, which this version of mlver does not know.")


def _encode_elements(raw: Buffer, element_bytes: int, move_sign: bool) -> Encoded:
    from mlver.codec import planes, sparse

    parts = sparse.encode(raw, element_bytes, move_sign)
    if parts is not None:
        encoded = Encoded(SPARSE, parts)
    else:
        encoded = Encoded(PLANES, planes.encode(raw, element_bytes, move_sign))
    return encoded if encoded.size_bytes < len(raw) else Encoded(RAW, (raw,))


def _encode_bytes(raw: Buffer) -> Encoded:
    packed = frames.compress(raw, frames.BYTES)
    return Encoded(RAW, (raw,)) if packed is None else Encoded(ZSTD, (packed,))


def _decode_raw(payload: Buffer, raw_size: int) -> bytes | memoryview:
    if len(payload) != raw_size:
        raise IntegrityError(f"A raw chunk has {len(payload)} bytes instead of {raw_size}.")
    return payload if isinstance(payload, bytes) else memoryview(payload)
