"""Any bytes come back from the codec; any payload that was tampered with is refused or decodes to the right size."""

from __future__ import annotations

import numpy as np
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mlver import codec
from mlver.errors import IntegrityError

FLOATS_AND_BYTES = ["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64", "C64", "C128"]
INTEGERS = ["I16", "U16", "I32", "U32", "I64", "U64"]
DTYPES = st.sampled_from([None, *FLOATS_AND_BYTES, *INTEGERS])


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """Return bytes as tensors have them: noise, weights, few values, runs and mixtures of these, of any size."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        count = draw(st.sampled_from([0, 1, 2, 5, 100, 3000, 30_000, 140_000]))
        parts.append(
            draw(
                st.sampled_from(
                    [
                        rng.bytes(count),
                        bytes(count),
                        rng.standard_normal(count // 4 + 1, dtype=np.float32).tobytes()[:count],
                        (rng.standard_normal(count // 2 + 1, dtype=np.float32).view("<u4") >> 16)
                        .astype("<u2")
                        .tobytes()[:count],
                        rng.integers(0, 20, count).astype("u1").tobytes(),
                        (rng.integers(0, 2**62, count // 8 + 1) * (rng.random(count // 8 + 1) < 0.4)).tobytes()[:count],
                        (rng.standard_normal(count // 4 + 1) * (rng.random(count // 4 + 1) < 0.4))
                        .astype("<f4")
                        .tobytes()[:count],
                        (rng.random(count) < 0.02).astype("u1").tobytes(),
                        (rng.bytes(97) * (count // 97 + 1))[:count],
                    ]
                )
            )
        )
    return b"".join(parts) + draw(st.binary(max_size=9))


def joined(encoded: codec.Encoded) -> bytes:
    return b"".join(encoded.parts)


@given(raw=st.one_of(st.binary(max_size=600), tensors()), dtype=DTYPES)
def test_round_trip(raw: bytes, dtype: str | None) -> None:
    encoded = codec.encode(raw, dtype)
    assert encoded.size_bytes <= len(raw)
    assert bytes(codec.decode(encoded.encoding, joined(encoded), len(raw))) == raw


@given(raw=tensors(), dtype=DTYPES, data=st.data())
def test_damage_raises_only_integrity_errors(raw: bytes, dtype: str | None, data: st.DataObject) -> None:
    encoded = codec.encode(raw, dtype)
    payload = bytearray(joined(encoded))
    size = len(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["flip", "head", "cut", "grow", "size"]))
        if kind in ("flip", "head") and payload:
            last = len(payload) - 1 if kind == "flip" else min(20, len(payload) - 1)
            payload[data.draw(st.integers(0, last))] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del payload[data.draw(st.integers(0, len(payload))) :]
        elif kind == "grow":
            payload += data.draw(st.binary(min_size=1, max_size=9))
        else:
            size = max(0, size + data.draw(st.integers(-9, 9)))
    refused_or_of_size(encoded.encoding, bytes(payload), size)


def refused_or_of_size(encoding: int, payload: bytes, size: int) -> None:
    try:
        decoded = codec.decode(encoding, payload, size)
    except IntegrityError:
        return
    assert len(decoded) == size


@given(encoding=st.integers(0, 20), payload=st.binary(max_size=200), size=st.integers(0, 5000))
def test_garbage_raises_only_integrity_errors(encoding: int, payload: bytes, size: int) -> None:
    refused_or_of_size(encoding, payload, size)


@given(
    head=st.sampled_from([1, 2, 4, 8, 0x82, 0x84, 0x88]),
    rest=st.lists(st.integers(0, 4), max_size=60),
    size=st.integers(0, 40),
)
def test_garbage_planes_raise_only_integrity_errors(head: int, rest: list[int], size: int) -> None:
    refused_or_of_size(codec.PLANES, bytes([head, *rest]), size)


@given(
    bitmap=st.binary(max_size=6),
    rest=st.binary(max_size=40),
    width=st.sampled_from([1, 2, 4, 8]),
    size=st.integers(0, 60),
)
def test_garbage_bitmaps_raise_only_integrity_errors(bitmap: bytes, rest: bytes, width: int, size: int) -> None:
    frame = zstandard.ZstdCompressor().compress(bitmap)
    refused_or_of_size(codec.SPARSE, bytes([width]) + len(frame).to_bytes(4, "little") + frame + rest, size)
