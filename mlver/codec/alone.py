"""Chunks that are encoded by themselves: the encodings without a base, and which of them a chunk gets."""

from __future__ import annotations

from mlver.codec import frames
from mlver.codec.encoded import ELEMENT_BYTES, PLANES, RAW, SPARSE, WHOLE_BYTES, ZSTD, Choice, Encoded
from mlver.codec.frames import Buffer
from mlver.errors import IntegrityError

_WIDE_INTEGERS = frozenset({"I16", "U16", "I32", "U32", "I64", "U64"})
_PLANES_ENOUGH = 16
"""Integers whose planes are this many times as small are not tried as a whole."""
_SIGN_MOVED_DTYPES = frozenset({"BF16", "F32", "C64"})


def encode(raw: Buffer, dtype: str | None, choice: Choice | None = None) -> Encoded:
    """Encode one chunk; see `mlver.codec.encode`."""
    element_bytes = ELEMENT_BYTES.get(dtype or "")
    if element_bytes is None:
        return _encode_bytes(raw)
    move_sign = dtype in _SIGN_MOVED_DTYPES
    if choice is not None and choice.encoding == PLANES and len(raw) > WHOLE_BYTES:
        from mlver.codec import planes

        parts, _ = planes.encode_with(raw, element_bytes, move_sign, choice.methods)
        encoded = Encoded(PLANES, parts, choice)
        if choice.foretold(encoded.size_bytes, len(raw)):
            return encoded
    encoded = _encode_elements(raw, element_bytes, move_sign)
    if dtype not in _WIDE_INTEGERS or encoded.size_bytes < len(raw) / _PLANES_ENOUGH:
        return encoded
    # Integers may be ids or indices that repeat as sequences, which planes tear apart and samples do not show.
    return min(encoded, Encoded(ZSTD, (frames.compress_always(raw),)), key=lambda candidate: candidate.size_bytes)


def decode(encoding: int, payload: Buffer, raw_size: int) -> bytes | memoryview:
    """Give back the `raw_size` bytes of one chunk; see `mlver.codec.decode`.

    Raises:
        IntegrityError: The encoding is unknown, or `payload` is not a valid encoding of `raw_size` bytes.
    """
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
    raise IntegrityError(f"A chunk has encoding {encoding}, which this version of mlver does not know.")


def decodes_to(encoded: Encoded, raw: Buffer) -> bool:
    """Tell whether what was encoded gives back a chunk; see `mlver.codec.decodes_to`.

    Raises:
        IntegrityError: It is no valid encoding of a chunk of this size.
    """
    if encoded.encoding == PLANES:
        from mlver.codec import planes

        return planes.decodes_to(encoded.parts, raw)
    return bytes(decode(encoded.encoding, encoded.payload(), len(raw))) == bytes(raw)


def _encode_elements(raw: Buffer, element_bytes: int, move_sign: bool) -> Encoded:
    from mlver.codec import planes, sparse

    few = sparse.encode(raw, element_bytes, move_sign)
    if few is not None:
        encoded = Encoded(SPARSE, few)
    else:
        parts, methods = planes.encode_with(raw, element_bytes, move_sign)
        encoded = Encoded(PLANES, parts)
        if len(raw) > WHOLE_BYTES:
            encoded = encoded._replace(choice=Choice(PLANES, encoded.size_bytes / len(raw), methods))
    return encoded if encoded.size_bytes < len(raw) else Encoded(RAW, (raw,))


def _encode_bytes(raw: Buffer) -> Encoded:
    packed = frames.compress(raw, frames.BYTES)
    return Encoded(RAW, (raw,)) if packed is None else Encoded(ZSTD, (packed[1],))


def _decode_raw(payload: Buffer, raw_size: int) -> bytes | memoryview:
    if len(payload) != raw_size:
        raise IntegrityError(f"A raw chunk has {len(payload)} bytes instead of {raw_size}.")
    return payload if isinstance(payload, bytes) else memoryview(payload)
