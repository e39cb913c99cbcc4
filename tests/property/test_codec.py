"""Any bytes come back from the codec; any payload that was tampered with is refused or decodes to the right size."""

from __future__ import annotations

import numpy as np
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mlver import codec
from mlver.codec import delta, levels, residuals
from mlver.codec.encoded import ELEMENT_BYTES
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


def refused_or_of_size(encoding: int, payload: bytes, size: int, base: bytes | None = None) -> None:
    try:
        decoded = codec.decode(encoding, payload, size, base)
    except IntegrityError:
        return
    assert len(decoded) == size


@st.composite
def descendants(draw: st.DrawFn, raw: bytes) -> bytes:
    """Return a base for `raw`: the same, a step away, another size, or nothing like it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["same", "few", "step", "decay", "other"]))
    base = np.frombuffer(raw, np.uint8).copy()
    if kind == "few":
        base[rng.random(base.size) < 0.01] ^= 1
    elif kind == "step":
        halves = base[: base.size // 2 * 2].view("<u2")
        halves += rng.integers(0, 5, halves.size).astype("<u2")
    elif kind == "decay":
        with np.errstate(all="ignore"):
            base[: base.size // 4 * 4].view("<f4")[:] *= np.float32(1 + 1e-4)
    elif kind == "other":
        base = np.frombuffer(rng.bytes(base.size), np.uint8)
    size = draw(st.sampled_from([base.size, base.size, base.size // 2, base.size + 5]))
    return (base.tobytes() + b"beyond")[:size]


EFFORTS = st.sampled_from(["fast", "balanced", "max"])


@given(raw=st.one_of(st.binary(max_size=600), tensors()), dtype=DTYPES, effort=EFFORTS, data=st.data())
def test_round_trip_with_a_base(raw: bytes, dtype: str | None, effort: codec.Effort, data: st.DataObject) -> None:
    base = data.draw(descendants(raw))
    encoded = codec.encode(raw, dtype, base, effort)
    assert bytes(codec.decode(encoded.encoding, joined(encoded), len(raw), base)) == raw
    assert encoded.size_bytes <= len(raw)
    if len(raw) <= 131072:
        assert encoded.size_bytes <= codec.encode(raw, dtype).size_bytes


@given(
    raw=tensors(),
    dtypes=st.sampled_from(
        [("F32", "BF16"), ("F32", "F16"), ("BF16", "F32"), ("F16", "F32"), ("F64", "F32"), ("F32", "F64")]
    ),
    data=st.data(),
)
def test_round_trip_of_casts(raw: bytes, dtypes: tuple[str, str], data: st.DataObject) -> None:
    base = data.draw(tensors())
    encoded = codec.encode(raw, dtypes[1], base, base_dtype=dtypes[0])
    assert encoded.size_bytes <= len(raw)
    assert bytes(codec.decode(encoded.encoding, joined(encoded), len(raw), base)) == raw


@given(raw=tensors(), dtype=DTYPES, encoding=st.sampled_from(["DELTA", "LEVELS"]), data=st.data())
def test_damage_with_a_base_raises_only_integrity_errors(
    raw: bytes, dtype: str | None, encoding: str, data: st.DataObject
) -> None:
    base = data.draw(descendants(raw))
    width = ELEMENT_BYTES[dtype or "F32"]
    values = residuals.elements(raw, width)
    old = residuals.elements(residuals.aligned(base, len(raw)), width)
    left, tail = residuals.take(values, old, dtype or "F32"), raw[values.nbytes :]
    if encoding == "DELTA" or not values.size:
        number, parts = codec.DELTA, delta.encode(left, tail)
    else:
        fineness = levels.Fineness(*data.draw(st.sampled_from([(7, 0, 24), (None, 1, 8), (3, 2, 64)])))
        number, parts = codec.LEVELS, levels.encode(left, old, tail, dtype or "F32", fineness)
    payload, size = bytearray(b"".join(parts)), len(raw)
    assert bytes(codec.decode(number, payload, size, base)) == raw
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["flip", "head", "cut", "grow", "size", "base"]))
        if kind in ("flip", "head") and payload:
            last = len(payload) - 1 if kind == "flip" else min(60, len(payload) - 1)
            payload[data.draw(st.integers(0, last))] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del payload[data.draw(st.integers(0, len(payload))) :]
        elif kind == "grow":
            payload += data.draw(st.binary(min_size=1, max_size=9))
        elif kind == "base":
            base = data.draw(st.binary(max_size=60))
        else:
            size = max(0, size + data.draw(st.integers(-9, 9)))
    refused_or_of_size(number, bytes(payload), size, base)


@given(
    encoding=st.sampled_from([codec.DELTA, codec.LEVELS, codec.CAST]),
    head=st.sampled_from([b"", b"\x01", b"\x02", b"\x04", b"\x08", b"\x82\x03", b"\x00\x02", b"\x03\x02"]),
    rest=st.binary(max_size=120),
    size=st.integers(0, 300),
    base=st.binary(max_size=300),
)
def test_garbage_with_a_base_raises_only_integrity_errors(
    encoding: int, head: bytes, rest: bytes, size: int, base: bytes
) -> None:
    refused_or_of_size(encoding, head + rest, size, base)


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
