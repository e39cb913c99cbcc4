"""The loops over elements, compiled and portable, alike in what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlver import codec
from mlver.codec import factors, levels, library, loops, native, portable, portable_entropy, residuals
from mlver.codec.shapes import BLOCK, Coded, Cut, Exponent, Residuals, Sorted
from mlver.errors import IntegrityError

BOTH = pytest.mark.parametrize("implementation", [native, portable] if library.is_available() else [portable])
EXPONENT = Exponent(23, 0xFF)


def bytes_of(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


@BOTH
def test_nothing_is_learnt_of_what_hardly_changed(implementation: loops.Loops) -> None:
    base = np.arange(4096, dtype="<u4")
    changed = base.copy()
    changed[::2000] += 1
    assert implementation.learn(changed, base, 0) is None


@BOTH
def test_nibbles_that_do_not_fit_are_refused(implementation: loops.Loops) -> None:
    assert implementation.pack_nibbles(bytes_of(1, 200, 201), 0, 1) is None
    assert implementation.unpack_nibbles(bytes_of(0xF1), bytes_of(), 0, 2) is None
    assert implementation.unpack_nibbles(bytes_of(0x21), bytes_of(), 0, 1) is None  # the half that is no element
    found = implementation.unpack_nibbles(bytes_of(0xF1), bytes_of(99), 0, 2)
    assert found is not None
    assert found.tolist() == [1, 99]


@BOTH
@pytest.mark.parametrize(
    ("places", "signs", "values", "fits"),
    [
        ([0b101], None, [7, 9], True),
        ([0b101], None, [7], False),  # fewer values than places
        ([0b1000], None, [7], False),  # a place behind the last element
        ([0b101], [0b001], [7, 9], True),
        ([0b101], [0b1000], [7, 9], False),  # the sign of no element
    ],
)
def test_places_of_what_is_not_zero(
    implementation: loops.Loops, places: list[int], signs: list[int] | None, values: list[int], fits: bool
) -> None:
    out = np.empty(3, "<u4")
    apart = None if signs is None else bytes_of(*signs)
    assert implementation.join_sparse(bytes_of(*places), apart, np.array(values, "<u4"), out) is fits
    if fits:
        assert out.tolist() == [7 | (0x8000_0000 if signs else 0), 0, 9]


@BOTH
@pytest.mark.parametrize(
    ("stored", "written", "fits"),
    [
        ([2, 1], [1, 0xFF, 31, 0x80, 32], True),
        ([2, 1], [1, 0xFF, 31], False),  # fewer shares than there are said to be
        ([2, 1], [1, 0xFF, 31, 0x80, 32, 0], False),  # more
        ([2, 1], [1, 0xFF, 31, 0x80], False),  # the last one is cut
        ([2, 1], [1, 0xFF, 31, 0x80, 0x80], False),  # a share of three bytes
        ([2, 1], [2, 0xFF, 31, 0x80, 32], False),  # they add up to more than there are
        ([2, 1], [0, 0xFF, 31, 0x80, 32], False),  # or to less
        ([65, 1], [1, 0xFF, 31, *[0] * 63, 0x80, 32], False),  # more than there are symbols
        ([], [], False),  # shares that are known, and are not
    ],
)
def test_shares_as_they_are_stored(
    implementation: loops.Loops, stored: list[int], written: list[int], fits: bool
) -> None:
    shares = np.zeros((64, 64), np.uint16)
    shares[0, :2], shares[1, 0] = [1, 4095], 4096
    classes, symbols = bytes_of(0, 0, 1, 0, 1), bytes_of(1, 0, 0, 1, 0)
    coded = Coded(bytes_of(*stored), bytes_of(*written), *portable_entropy.encode_symbols(classes, symbols, shares, 2))
    found = implementation.decode(classes, coded)
    if fits:
        assert found is not None
        assert found.tolist() == symbols.tolist()
    else:
        assert found is None
    known = implementation.decode(classes, coded._replace(stored=bytes_of(), written=bytes_of()), shares)
    assert known is not None
    assert known.tolist() == symbols.tolist()


def as_stored(implementation: loops.Loops, parts: Sorted) -> Residuals:
    symbols = implementation.code(parts.classes, parts.symbols, 1, 64, 1) if parts.classes.size else None
    return Residuals(parts.plane, parts.classes.size, symbols, parts.escapes, parts.low)


@BOTH
@pytest.mark.parametrize("count", [BLOCK, BLOCK + 1, 5 * BLOCK - 1])
@pytest.mark.parametrize("coded", [0, 14, 64])
def test_sorted_residuals_of_other_sizes_are_refused(implementation: loops.Loops, count: int, coded: int) -> None:
    random = np.random.default_rng(count)
    base = random.normal(0, 0.02, count).astype("<f4").view("<u4")
    values = base + random.integers(0, 1 << 12, count).astype("<u4")
    how, found = implementation.sort(values, base, base, EXPONENT, Cut(2, coded, 4))
    assert how.levels.size == -(-count // BLOCK)
    assert (found.plane.size > 0, found.classes.size > 0) == (coded < 64, coded > 0)
    parts = as_stored(implementation, found)
    out = np.empty_like(values)
    assert implementation.merge(parts, base, base, EXPONENT, how, out)
    assert (out == values).all()
    assert implementation.is_merged(parts, base, base, EXPONENT, how, values)
    assert not implementation.is_merged(parts, base, base, EXPONENT, how, values + np.uint32(1))
    others = [
        parts._replace(plane=np.append(parts.plane, np.uint8(0))),
        parts._replace(low=np.append(parts.low, np.uint8(0))),
        parts._replace(escapes=np.append(parts.escapes, np.uint32(70_000)).astype("<u4")),
        parts._replace(coded=parts.coded + 1),
    ]
    if parts.symbols is not None:
        symbols = parts.symbols
        others += [
            parts._replace(coded=parts.coded - 1),
            parts._replace(symbols=None),
            parts._replace(symbols=symbols._replace(words=np.append(symbols.words, np.uint16(0)))),
        ]
    for other in others:
        assert not implementation.merge(other, base, base, EXPONENT, how, out)
        assert not implementation.is_merged(other, base, base, EXPONENT, how, values)


@BOTH
def test_no_elements_have_no_levels(implementation: loops.Loops) -> None:
    nothing = np.empty(0, "<u4")
    how, found = implementation.sort(nothing, nothing, nothing, EXPONENT, levels.CODED)
    assert (how.levels.size, *(part.size for part in found)) == (0,) * 6
    assert levels._measured(np.empty(0, np.uint8), 0) == 0


@BOTH
def test_blocks_whose_signs_differ_have_the_least_level(implementation: loops.Loops) -> None:
    base = np.full(4 * BLOCK, 0x3F80_0000, "<u4")
    values = base.copy()
    values[:BLOCK] += np.uint32(5)
    values[BLOCK : 2 * BLOCK] += np.uint32(1 << 30)
    values[2 * BLOCK : 3 * BLOCK] += np.uint32(5000)
    how, _ = implementation.sort(values, base, base, EXPONENT, levels.CODED)
    assert how.levels.tolist() == [1, 1, 11, 0]
    values[:BLOCK] = values[2 * BLOCK : 3 * BLOCK] = base[:BLOCK]
    how, _ = implementation.sort(values, base, base, EXPONENT, levels.CODED)
    assert how.levels.tolist() == [0, 1, 0, 0]


@BOTH
def test_levels_that_are_too_far_apart_are_the_highest(implementation: loops.Loops) -> None:
    base = np.repeat(np.array([0, 2000 << 4], "<u2"), BLOCK)
    values = base + np.uint16(3)
    how, found = implementation.sort(values, base, base, Exponent(4, 0xFFF), levels.CODED)
    assert how.levels.tolist() == [1, 255]
    out = np.empty_like(values)
    assert implementation.merge(as_stored(implementation, found), base, base, Exponent(4, 0xFFF), how, out)
    assert (out == values).all()


# The compiled kernel


def test_what_is_no_kernel_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "kernel.so").write_bytes(b"not a library")
    assert library.load(tmp_path / "kernel.so") is None
    assert library.load(tmp_path / "absent.so") is None


@pytest.mark.skipif(not library.is_available(), reason="the kernel was not compiled: dev/build")
def test_the_kernel_for_every_machine_is_used_where_the_faster_one_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = library.load(library.LIBRARY)
    assert plain is not None
    for has_avx2 in (0, 1):
        found = plain | {"has_avx2": lambda has_avx2=has_avx2: has_avx2}
        monkeypatch.setattr(library, "load", lambda path, found=found: found if path == library.LIBRARY else None)
        assert library._load_fastest() is found
    monkeypatch.setattr(library, "load", lambda path: None)
    assert library._load_fastest() is None


# What callers must not ask


def test_chunks_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        codec.encode(bytes(codec.MAX_CHUNK_BYTES + 1), None)
    with pytest.raises(ValueError, match="at the same places"):
        codec.encode(b"1234", "F32", b"1234", base_skip=4)
    raw, base = (np.arange(start, 4096 + start, dtype="<u4").tobytes() for start in (0, 3))
    encoded = codec.encode(raw, "I32", base)
    assert encoded.encoding in codec.BASE_ENCODINGS
    with pytest.raises(IntegrityError, match="needs a base chunk"):
        codec.decodes_to(encoded, raw)


def test_rows_that_mostly_did_not_move_have_no_steps() -> None:
    """Those that are looked at first all went the same way; the median of all says that nothing moved."""
    rows, columns = 4 * residuals._MIN_ROWS, 64
    base = np.full((rows, columns), 0.5, "<f4")
    moved = base.copy()
    moved[::4] = np.nextafter(np.float32(0.5), np.float32(1))
    assert residuals.steps_of(moved.view("<u4").ravel(), base.view("<u4").ravel(), "F32", columns) is None
    moved[:] = np.nextafter(np.float32(0.5), np.float32(1))
    assert residuals.steps_of(moved.view("<u4").ravel(), base.view("<u4").ravel(), "F32", columns) is not None


def test_factors_that_cannot_be_integers_are_none() -> None:
    huge = np.full((2, 64), 2.0**100)
    assert factors._in_integers("F32", 0, huge, huge, 2.0**-140) is None


def test_a_change_that_is_only_rounding_has_no_rank() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-9, (96, 96))
    change = factors._Change(noise, 1.0)
    assert not change.foretells(0.25)
    assert change.factorised() is None
    mixed = noise.copy()
    mixed[1::2, 1::2] = 100.0  # where the sample is held back, there is something; where it is known, nothing
    assert not factors._Change(mixed, 1.0).foretells(0.25)
