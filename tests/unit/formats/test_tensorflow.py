"""Checkpoints of TensorFlow: what the index says of the other files."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from mlver.formats import Beside, ExternalTensor, Layout, beside, diagnose, tensorflow
from tests.support.weight_files import (
    BytesSource,
    assert_promises,
    proto,
    tensorflow_entry,
    tensorflow_header,
    tensorflow_index,
)

DATA = "*.data-00000-of-00001"
KERNEL = tensorflow_entry(1, [2, 3], 8, 24)
TENSORS = {
    b"net/kernel": KERNEL,
    b"net/kernel/m": tensorflow_entry(14, [4], 32, 8),
    b"step": tensorflow_entry(9, [], 0, 8),
}


def found(entries: Mapping[bytes, bytes], header: bytes | None = None, per_block: int = 3) -> Layout:
    raw = tensorflow_index({b"": header or tensorflow_header(), **entries}, per_block)
    layout, problem = diagnose(BytesSource(raw), Beside(has_others=True))
    assert layout is not None, problem
    assert_promises(layout, len(raw))
    return layout


def problem_of(raw: bytes) -> str:
    layout, problem = diagnose(BytesSource(raw), Beside(has_others=True))
    assert layout is None
    assert problem is not None
    return problem


def external(
    name: str, dtype: str, shape: tuple[int, ...], offset: int, size: int, location: str = DATA
) -> ExternalTensor:
    return ExternalTensor(name, dtype, shape, location, offset, size, "tensorflow-data")


@pytest.mark.parametrize("per_block", [1, 2, 100])
def test_tensors_of_all_blocks_are_found(per_block: int) -> None:
    assert found(TENSORS, per_block=per_block) == Layout(
        "tensorflow",
        (),
        external=(
            external("net/kernel", "F32", (2, 3), 8, 24),
            external("net/kernel/m", "BF16", (4,), 32, 8),
            external("step", "I64", (), 0, 8),
        ),
    )


def test_tensors_are_in_the_file_that_the_index_tells() -> None:
    layout = found({b"w": tensorflow_entry(1, [1], 4, 4, file=1)}, tensorflow_header(files=12))
    assert layout.external == (external("w", "F32", (1,), 4, 4, "*.data-00001-of-00012"),)


def test_the_files_of_a_checkpoint_have_its_name() -> None:
    raw = tensorflow_index({b"": tensorflow_header(), **TENSORS})
    data = bytes(8) + np.arange(6, dtype="<f4").tobytes() + bytes(8)
    files = {
        "variables/v.1.index": raw,
        "variables/v.1.data-00000-of-00001": data,
        "variables/v.2.data-00000-of-00001": data,
        "saved_model.pb": b"graph",
    }
    layout, _ = diagnose(BytesSource(raw))
    assert layout is not None
    told = beside({"variables/v.1.index": layout.external}, files)
    assert told == {
        "variables/v.1.index": Beside((), True),
        "variables/v.1.data-00000-of-00001": Beside(layout.external),
    }
    weights, problem = diagnose(BytesSource(data), told["variables/v.1.data-00000-of-00001"])
    assert problem is None
    assert weights is not None
    assert (weights.format, weights.is_complete) == ("tensorflow-data", True)
    assert [(tensor.name, tensor.offset) for tensor in weights.tensors] == [
        ("step", 0),
        ("net/kernel", 8),
        ("net/kernel/m", 32),
    ]


def test_texts_are_no_weights_and_what_is_unknown_makes_the_rest_incomplete() -> None:
    text, resource, unknown = (tensorflow_entry(kind, [], 0, 9) for kind in (7, 20, 999))
    assert found({b"graph": text, **TENSORS}) == found(TENSORS)
    for entry in (resource, unknown):
        layout = found({b"a": entry, **TENSORS})
        assert (layout.external, layout.is_complete) == (found(TENSORS).external, False)


def test_the_parts_of_a_divided_variable_have_its_name() -> None:
    whole = tensorflow_entry(1, [4, 3], 0, 0, proto(7, b""))
    parts = {
        b"\0table\0\1\x01\x02\x80\x82\x80\x83": tensorflow_entry(1, [2, 3], 0, 24),
        b"\0table\0\1\x01\x02\x82\x82\x80\x83": tensorflow_entry(1, [2, 3], 0, 24, file=1),
    }
    layout = found(parts | {b"table": whole}, tensorflow_header(files=2))
    assert [
        (item.name, item.shape, item.location[-8:]) for item in layout.external if isinstance(item, ExternalTensor)
    ] == [
        ("table", (2, 3), "of-00002"),
        ("table#2", (2, 3), "of-00002"),
    ]
    assert layout.is_complete


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({b"": tensorflow_header(), b"w": tensorflow_entry(1, [2], 0, 4)}, "does not fit"),
        ({b"": tensorflow_header(), b"w": tensorflow_entry(1, [1], 0, 4, file=1)}, "does not fit"),
        ({b"": tensorflow_header(), b"w": tensorflow_entry(1, [1], (1 << 64) - 4, 4)}, "negative place"),
        ({b"": tensorflow_header(), b"\xff": tensorflow_entry(1, [1], 0, 4)}, "no UTF-8"),
        ({b"": tensorflow_header(), b"w" * 8190: KERNEL}, "too long"),
        ({b"": tensorflow_header(), b"w" * 9000: KERNEL}, "no sound key"),
        ({b"": tensorflow_header(), b"w": KERNEL[:-1]}, "longer than its message"),
        ({b"": tensorflow_header(endianness=1)}, "big-endian"),
        ({b"": tensorflow_header(files=100_000)}, "number of files"),
        ({b"": tensorflow_header(files=0)}, "number of files"),
    ],
)
def test_an_index_that_breaks_a_rule_is_plain_bytes(entries: Mapping[bytes, bytes], problem: str) -> None:
    assert problem in problem_of(tensorflow_index(entries))


def test_an_index_that_does_not_describe_the_checkpoint_first_is_plain_bytes() -> None:
    entries = {b"": tensorflow_header(), **TENSORS}
    assert "does not describe" in problem_of(tensorflow_index(entries, per_block=1, first_block=1))


def test_a_compressed_index_is_plain_bytes() -> None:
    entries = {b"": tensorflow_header(), **TENSORS}
    assert "compressed" in problem_of(tensorflow_index(entries, compression=1))


@pytest.mark.parametrize("cut_bytes", [1, 8, 40, 60])
def test_an_index_that_is_cut_is_plain_bytes(cut_bytes: int) -> None:
    assert problem_of(tensorflow_index({b"": tensorflow_header(), **TENSORS})[:-cut_bytes])


def test_an_index_of_too_many_parts_is_plain_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow, "MAX_STEPS", 10)
    assert "too many parts" in problem_of(tensorflow_index({b"": tensorflow_header(), **TENSORS}))


def test_long_keys_count_for_more() -> None:
    entries = {b"k" * 4000 + b"%04d" % number: tensorflow_entry(1, [1], 0, 4) for number in range(9000)}
    assert "too many parts" in problem_of(tensorflow_index({b"": tensorflow_header(), **entries}, per_block=10_000))
