"""Chunks that are encoded against a base: which encoding a chunk gets, and the way back.

The residuals of a sample tell what the encodings would take, without compressing anything. Where they cannot tell, what
is in question is done in full and the smallest is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mlver.codec import alone, cast, delta, entropy, factors, grid, levels, loops, residuals
from mlver.codec.encoded import (
    CAST,
    DELTA,
    ELEMENT_BYTES,
    GRID,
    LEVELS,
    WHOLE_BYTES,
    Choice,
    Effort,
    Encoded,
    Method,
)
from mlver.codec.frames import Buffer
from mlver.codec.residuals import View
from mlver.codec.shapes import Cut, Elements, Expectation, Exponent
from mlver.errors import IntegrityError

_PIECES = 8
_PIECE_BYTES = 4096
_MUCH = 1 / 8
"""Of what leaves more than this it is worth to ask whether the change is of low rank."""
_LEFT_BY_FACTORS: dict[Effort, float] = {"balanced": 1 / 16, "max": 1 / 2}
"""The part of a change's power that factors may leave, since they take ten times as long as all else. What was merged
leaves nothing; the steps of a short while of training are of low rank too, but for a half or less."""
_NEAR = 0.1
"""Sizes that differ by less than this part may be the other way round in the whole chunk."""
_CLEAR = 1 / 2
"""What leaves less than this needs no comparison with what the chunk takes by itself."""
_WORTH_SORTING = 0.97
"""How small LEVELS must be against DELTA to be worth the time that decoding it takes: twice as long."""

_DECODERS: dict[int, Callable[[Buffer, int, Buffer], memoryview]] = {
    DELTA: delta.decode,
    LEVELS: levels.decode,
    CAST: cast.decode,
    GRID: grid.decode,
}


class Place(NamedTuple):
    """What is known of a chunk beside its bytes.

    Attributes:
        dtype: The type of its elements.
        columns: Elements in a row of its tensor, 0 if it has no rows.
        column: The column of the first element.
    """

    dtype: str
    columns: int = 0
    column: int = 0


def encode(raw: Buffer, place: Place, base: Buffer, effort: Effort, choice: Choice | None = None) -> Encoded:
    """Encode one chunk of a known dtype with or without its base; see `mlver.codec.encode`."""
    base = residuals.aligned(base, len(raw))
    if choice is not None and effort != "max" and _tells(len(raw), place):
        again = _as_before(raw, place, base, effort, choice)
        if again is not None:
            return again
    dtype = place.dtype
    plain = plain_view(raw, dtype, base)
    sample_bytes, trials = _trials(plain, place, effort)
    least = min(trials, key=_with_time(effort))
    fully = partial(_fully, plain, least, place, effort)
    if len(raw) > WHOLE_BYTES and least.size_bytes > sample_bytes * _CLEAR:
        itself = alone.encode(_sampled(plain.values).data.cast("B"), dtype).size_bytes
        if least.size_bytes > itself * (1 + _NEAR):
            return alone.encode(raw, dtype)
        if least.size_bytes > itself * (1 - _NEAR):
            return _smallest([alone.encode(raw, dtype), *fully()])
    if effort == "max" or len(raw) <= WHOLE_BYTES:
        by_itself = [alone.encode(raw, dtype)] if len(raw) <= WHOLE_BYTES else []
        return _smallest([*by_itself, *fully()])
    return _levels(least.view, place, least.cut) if least.encoding == LEVELS else _delta(least.view, place)


def _tells(raw_bytes: int, place: Place) -> bool:
    """Tell whether a chunk says how others of its kind are best encoded: a large one, or one of a vector.

    Biases and norms of one layer after the other are as many as the large chunks of a model, and next to none of its
    bytes.
    """
    return raw_bytes > (WHOLE_BYTES if place.columns else 0)


def _as_before(raw: Buffer, place: Place, base: Buffer, effort: Effort, choice: Choice) -> Encoded | None:
    """Encode a chunk as one of its kind before it was; None if that was without a base, or does not suit this one."""
    if choice.encoding not in _DECODERS or (choice.encoding == GRID and len(raw) > WHOLE_BYTES):
        return None  # a grid takes long to decode, so only small chunks are on one
    view = plain_view(raw, place.dtype, base, choice.has_table)
    if choice.has_steps or choice.has_factors:
        return None  # which of the two suits a chunk differs from one to the next
    if effort != "fast" and residuals.steps_of(view.values, view.base, place.dtype, place.columns) is not None:
        return None
    view = view if choice.by_exponent else view._replace(exponent=Exponent())
    if choice.encoding == DELTA:
        encoded = _delta(view, place, choice)
    elif choice.encoding == GRID:
        encoded = _grid(view, place, choice)
    else:
        encoded = _levels(view, place, levels.CODED if choice.is_coded else levels.PLANE, choice)
    return encoded if choice.foretold(encoded.size_bytes, len(raw)) else None


def decode(encoding: int, payload: Buffer, raw_size: int, base: Buffer) -> memoryview:
    """Give back the `raw_size` bytes of a chunk; see `mlver.codec.decode`.

    Raises:
        IntegrityError: The encoding is unknown, or `payload` is not a valid encoding of `raw_size` bytes.
    """
    decoder = _DECODERS.get(encoding)
    if decoder is None:
        raise IntegrityError(f"A chunk has encoding {encoding}, which this version of mlver does not know.")
    return decoder(payload, raw_size, base)


def decodes_to(encoded: Encoded, raw: Buffer, base: Buffer) -> bool:
    """Tell whether what was encoded gives back a chunk; see `mlver.codec.decodes_to`.

    Raises:
        IntegrityError: It is no valid encoding of a chunk of this size.
    """
    if encoded.encoding == DELTA:
        return delta.decodes_to(encoded.parts, raw, base)
    if encoded.encoding == LEVELS:
        return levels.decodes_to(encoded.parts, raw, base)
    if encoded.encoding == GRID:
        return grid.decodes_to(encoded.parts, raw, base)
    again = decode(encoded.encoding, encoded.payload(), len(raw), base)
    return np.array_equal(np.frombuffer(again, np.uint8), np.frombuffer(raw, np.uint8))


class _Trial(NamedTuple):
    """What an encoding of a view would take, about, by a sample."""

    view: View
    encoding: int
    size_bytes: float
    cut: Cut = levels.PLANE


def plain_view(raw: Buffer, dtype: str, base: Buffer, with_table: bool = True) -> View:
    """Return a chunk with a base of its size as it is looked at first."""
    values, old = (residuals.elements(data, ELEMENT_BYTES[dtype]) for data in (raw, base))
    expectation = residuals.table_of(values, old, dtype) if with_table else Expectation()
    return View(
        values,
        old,
        expectation,
        residuals.expected(old, expectation),
        residuals.exponent_of(dtype),
        memoryview(raw)[values.nbytes :],
    )


def _trials(plain: View, place: Place, effort: Effort) -> tuple[int, list[_Trial]]:
    """Return the size of a sample in bytes, and what seems to be worth a trial of what the effort allows."""
    sample = _sample(plain)
    trials = [_Trial(plain, DELTA, _delta_bytes(sample))]
    if effort == "fast" or not plain.values.size:
        return sample.values.nbytes, trials
    views = [plain]
    steps = residuals.steps_of(plain.values, plain.base, place.dtype, place.columns)
    if steps is not None:
        views.append(plain.expecting(steps))
    trials += [_levels_trial(view) for view in views]
    least = min(trials[1:], key=lambda trial: trial.size_bytes)
    if least.size_bytes > sample.values.nbytes * _MUCH:
        most_left = _LEFT_BY_FACTORS[effort]
        found = factors.find(plain.values, plain.base, place.dtype, place.columns, place.column, most_left)
        if found is not None:
            trials.append(_levels_trial(plain.expecting(Expectation(factors=found))))
            least = min(least, trials[-1], key=lambda trial: trial.size_bytes)
    if plain.exponent.mask and (effort == "max" or least.size_bytes > sample.values.nbytes * _CLEAR):
        # Of elements that hardly resemble their base, or moved by a factor, the exponent says nothing.
        trials.append(_levels_trial(least.view._replace(exponent=Exponent())))
    return sample.values.nbytes, trials


def _with_time(effort: Effort) -> Callable[[_Trial], float]:
    """Return how to compare trials: by size, and a little by time."""
    worth = 1 if effort == "max" else _WORTH_SORTING
    return lambda trial: trial.size_bytes / (worth if trial.encoding == LEVELS else 1)


def _fully(plain: View, least: _Trial, place: Place, effort: Effort) -> Iterable[Encoded]:
    """Yield a chunk in all encodings that come into question."""
    yield _delta(plain, place)
    if effort == "fast" or not plain.values.size:
        return
    for cut in (levels.PLANE, levels.CODED) if effort == "max" else (least.cut,):
        yield _levels(least.view, place, cut)
    # It takes five times as long to decode as DELTA, so large chunks are on a grid only where size is all.
    if place.dtype in grid.MANTISSAS and (effort == "max" or plain.values.nbytes <= WHOLE_BYTES):
        yield _grid(least.view, place)


def _delta(view: View, place: Place, choice: Choice | None = None) -> Encoded:
    parts, methods = delta.encode_with(view, choice.methods if choice is not None else ())
    return _with_choice(Encoded(DELTA, parts, choice), view, place, methods)


def _levels(view: View, place: Place, cut: Cut, choice: Choice | None = None) -> Encoded:
    encoded = Encoded(LEVELS, levels.encode(view, cut, in_haste=choice is not None), choice)
    return _with_choice(encoded, view, place, is_coded=cut is levels.CODED)


def _grid(view: View, place: Place, choice: Choice | None = None) -> Encoded:
    return _with_choice(Encoded(GRID, grid.encode(view, place.dtype, place.columns), choice), view, place)


def _with_choice(
    encoded: Encoded, view: View, place: Place, methods: tuple[Method, ...] = (), is_coded: bool = False
) -> Encoded:
    """Return what was encoded, with what it says of others of its kind, unless that is known or it says nothing."""
    raw_bytes = view.values.nbytes + len(view.tail)
    if encoded.choice is not None or not _tells(raw_bytes, place):
        return encoded
    told, part = view.expectation, encoded.size_bytes / raw_bytes
    return encoded._replace(
        choice=Choice(
            encoded.encoding, part, methods, told.table is not None, told.steps is not None, told.factors is not None,
            view.exponent.mask > 0, is_coded,
        )
    )  # fmt: skip


def _delta_bytes(sample: View) -> float:
    return sum(_plane_bytes(plane) for plane in loops.current.split(sample.values, sample.expected, False).planes)


def _levels_trial(view: View) -> _Trial:
    sample = _sample(view)
    _, found = levels.sort(sample, levels.PLANE)
    coded = entropy.bits(loops.current.count(found.classes, found.symbols)) / 8
    told = view.expectation.told_bytes * sample.values.nbytes / view.values.nbytes
    size_bytes = coded + _plane_bytes(found.plane) + found.low.nbytes + found.escapes.nbytes + told
    cut = levels.PLANE if found.plane.size > found.symbols.size else levels.CODED
    return _Trial(view, LEVELS, size_bytes, cut)


def _sample(view: View) -> View:
    """Return pieces of whole elements and blocks from all over a chunk, or all of it if it is small."""
    if view.values.nbytes <= WHOLE_BYTES:
        return view
    values, base = _sampled(view.values), _sampled(view.base)
    expected = base if view.expected is view.base else _sampled(view.expected)
    return View(values, base, view.expectation, expected, view.exponent, b"")


def _sampled(elements: Elements) -> Elements:
    size = _PIECE_BYTES // elements.itemsize
    step = (elements.size - size) // (_PIECES - 1)
    return np.concatenate([elements[at * step : at * step + size] for at in range(_PIECES)])


def _plane_bytes(plane: npt.NDArray[np.uint8]) -> float:
    return entropy.bits(np.bincount(plane, minlength=256)[None, :]) / 8


def encode_cast(raw: Buffer, dtype: str, base: Buffer, base_dtype: str, skip: int) -> Encoded:
    """Encode one chunk that may have been cast from elements of another type; see `mlver.codec.encode`."""
    parts = cast.encode(raw, dtype, base, base_dtype, skip)
    if parts is None:
        return alone.encode(raw, dtype)
    encoded = Encoded(CAST, parts)
    return encoded if encoded.size_bytes < len(raw) * _CLEAR else _smallest([alone.encode(raw, dtype), encoded])


def _smallest(candidates: Iterable[Encoded]) -> Encoded:
    return min(candidates, key=lambda candidate: candidate.size_bytes)
