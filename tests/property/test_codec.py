"""Any bytes come back from the codec; any payload that was tampered with is refused or decodes to the right size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mlver import codec
from mlver.codec import against, delta, grid, levels, library, loops, native, portable, residuals
from mlver.codec.shapes import Cut, Expectation, Factors
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
    assert codec.decodes_to(encoded, raw)


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
    assert codec.decodes_to(encoded, raw, base)
    assert bytes(codec.decode(encoded.encoding, joined(encoded), len(raw), base)) == raw


def factored(view: residuals.View, dtype: str, columns: int, column: int) -> residuals.View:
    """Return a view with factors of rank 1."""
    rows = -(-(column % columns + view.values.size) // columns)
    source = np.random.default_rng(columns)
    integers = [source.integers(-(1 << 23), 1 << 23, (1, many), dtype="<i4") for many in (rows, columns)]
    found = Factors(int(dtype == "BF16"), column % columns, integers[0], integers[1], -60)
    told = Expectation(factors=found)
    return view._replace(expectation=told, expected=residuals.expected(view.base, told))


@st.composite
def views(draw: st.DrawFn, raw: bytes, base: bytes) -> residuals.View:
    """Return a chunk as it may be looked at, whether that makes it small or not."""
    dtype = draw(st.sampled_from([*FLOATS_AND_BYTES, *INTEGERS]))
    view = against.plain_view(raw, dtype, residuals.aligned(base, len(raw)))
    if not view.values.size or draw(st.booleans()):
        return view
    if dtype in ("F32", "BF16") and view.values.size >= 40 and draw(st.booleans()):
        return factored(view, dtype, draw(st.integers(2, 9)), draw(st.integers(0, 8)))
    columns = draw(st.integers(1, min(view.values.size, 300)))
    steps = np.frombuffer(np.random.default_rng(columns).bytes(2 * columns), "<i2")
    expectation = Expectation(
        view.expectation.table, view.expectation.table_shift, steps, draw(st.integers(-100, 200)), view.exponent
    )
    return view._replace(expectation=expectation, expected=residuals.expected(view.base, expectation))


ON_GRID = {2: ("BF16", "F16"), 4: ("F32",)}
ENCODINGS = st.sampled_from([None, levels.PLANE, levels.CODED, Cut(0, 5), Cut(11, 0), *grid.MANTISSAS])


def encoded_as(view: residuals.View, way: Cut | str | None) -> tuple[int, bytes]:
    """Return a chunk in the encoding that is asked for, if its elements are fit for it, else as DELTA."""
    if isinstance(way, Cut) and view.values.size:
        return codec.LEVELS, b"".join(levels.encode(view, way))
    if isinstance(way, str) and view.values.size and way in ON_GRID.get(view.values.itemsize, ()):
        return codec.GRID, b"".join(grid.encode(view, way, min(view.values.size, 20)))
    return codec.DELTA, b"".join(delta.encode(view))


@given(raw=tensors(), cut=ENCODINGS, data=st.data())
def test_damage_with_a_base_raises_only_integrity_errors(
    raw: bytes, cut: Cut | str | None, data: st.DataObject
) -> None:
    base = data.draw(descendants(raw))
    view = data.draw(views(raw, base))
    number, written = encoded_as(view, cut)
    payload, size = bytearray(written), len(raw)
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
    encoding=st.sampled_from([codec.DELTA, codec.LEVELS, codec.CAST, codec.GRID]),
    head=st.sampled_from(
        [
            b"",
            b"\x01",
            b"\x02",
            b"\x04",
            b"\x08",
            b"\x82\x03",
            b"\x42",
            b"\x24\x00",
            b"\x22\x01",
            b"\x00\x02",
            b"\x03\x02",
            b"\x04\x17\x80\x00",
        ]
    ),
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


@contextmanager
def by(implementation: loops.Loops) -> Iterator[None]:
    """Do the loops over elements by this implementation."""
    before, loops.current = loops.current, implementation
    try:
        yield
    finally:
        loops.current = before


@pytest.mark.skipif(not library.is_available(), reason="the kernel was not compiled: dev/build")
@given(raw=st.one_of(st.binary(max_size=600), tensors()), dtype=DTYPES, effort=EFFORTS, data=st.data())
def test_both_implementations_write_and_read_the_same(
    raw: bytes, dtype: str | None, effort: codec.Effort, data: st.DataObject
) -> None:
    base = data.draw(st.one_of(st.none(), descendants(raw)))
    columns = data.draw(st.sampled_from([0, 16, 100]))
    written = []
    for implementation in (native, portable):
        with by(implementation):
            encoded = codec.encode(raw, dtype, base, effort, columns=columns)
            written.append((encoded.encoding, joined(encoded)))
            assert codec.decodes_to(encoded, raw, base)
    assert written[0] == written[1]
    for implementation in (native, portable):
        with by(implementation):
            assert bytes(codec.decode(*written[0], len(raw), base)) == raw


@pytest.mark.parametrize("implementation", [native, portable] if library.is_available() else [portable])
@given(raw=tensors().filter(bool), dtype=DTYPES, effort=EFFORTS, data=st.data())
def test_a_chunk_that_would_not_come_back_is_told(
    implementation: loops.Loops, raw: bytes, dtype: str | None, effort: codec.Effort, data: st.DataObject
) -> None:
    base = data.draw(st.one_of(st.none(), descendants(raw)))
    encoded = codec.encode(raw, dtype, base, effort)
    other = bytearray(raw)
    other[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with by(implementation):
        assert codec.decodes_to(encoded, raw, base)
        assert not codec.decodes_to(encoded, other, base)


@pytest.mark.skipif(not library.is_available(), reason="the kernel was not compiled: dev/build")
@given(raw=tensors(), cut=ENCODINGS, data=st.data())
def test_both_implementations_refuse_the_same(raw: bytes, cut: Cut | str | None, data: st.DataObject) -> None:
    base = data.draw(descendants(raw))
    view = data.draw(views(raw, base))
    number, written = encoded_as(view, cut)
    payload = bytearray(written)
    for _ in range(data.draw(st.integers(1, 2))):
        payload[data.draw(st.integers(0, min(200, len(payload) - 1)))] ^= data.draw(st.integers(1, 255))
    outcomes: list[bytes | str] = []
    for implementation in (native, portable):
        with by(implementation):
            try:
                outcomes.append(bytes(codec.decode(number, payload, len(raw), base)))
            except IntegrityError as error:
                outcomes.append(error.message)
    assert outcomes[0] == outcomes[1]
