from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from mlver.formats import Layout, Tensor, parse
from mlver.formats.detect import HEAD_BYTES
from tests.support.weight_files import BytesSource, assert_promises, entry, safetensors_file

VALID = json.dumps(entry("F32", [1], 0, 4))


def read(header: Any, data: bytes = b"") -> Layout | None:
    return parse(BytesSource(safetensors_file(header, data)))


def test_tensors_come_in_file_order_with_offsets_from_the_start() -> None:
    header = {"b": entry("BF16", [2, 3], 4, 16), "a": entry("F32", [], 0, 4), "__metadata__": {"format": "pt"}}
    raw = safetensors_file(header, bytes(16))
    layout = parse(BytesSource(raw))
    assert layout is not None
    start = len(raw) - 16
    assert layout.tensors == (Tensor("a", "F32", (), start, 4), Tensor("b", "BF16", (2, 3), start + 4, 12))
    assert (layout.format, layout.views, dict(layout.metadata)) == ("safetensors", (), {"format": "pt"})


def test_a_file_without_tensors_is_a_weight_file() -> None:
    assert read({}) == Layout("safetensors", ())


def test_empty_tensors_lie_between_the_others() -> None:
    header = {"z": entry("F32", [0, 7], 4, 4), "a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 4, 8)}
    layout = read(header, bytes(8))
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["a", "z", "b"]


def test_sub_byte_types_are_measured_in_bits() -> None:
    assert read({"w": entry("F4", [3, 4], 0, 6)}, bytes(6)) is not None
    assert read({"w": entry("F4", [3, 4], 0, 12)}, bytes(12)) is None


def test_a_type_of_the_future_is_kept_when_its_size_makes_sense() -> None:
    layout = read({"w": entry("F9_NEW", [4], 0, 12)}, bytes(12))
    assert layout is not None
    assert layout.tensors[0].dtype == "F9_NEW"
    assert read({"w": entry("F9_NEW", [5], 0, 12)}, bytes(12)) is None
    assert read({"w": entry("F9_NEW", [1], 0, 17)}, bytes(17)) is None
    assert read({"w": entry("f9\x1b[0m", [4], 0, 12)}, bytes(12)) is None


def test_large_metadata_is_left_out() -> None:
    layout = read({"__metadata__": {"notes": "x" * 100_000}})
    assert layout is not None
    assert dict(layout.metadata) == {}


@pytest.mark.parametrize(
    "header",
    [
        {"w": entry("F32", [2], 0, 4)},
        {"w": entry("F32", [1], 0, 4), "v": entry("F32", [1], 0, 4)},
        {"w": entry("F32", [2], 0, 8), "v": entry("F32", [0], 4, 4)},
        {"w": entry("F32", [3], 0, 12)},
        {"w": entry("F32", [1], -4, 0)},
        {"w": entry("F32", [-1], 4, 0)},
        {"w": entry("F32", [True], 0, 4)},
        {"w": entry("F32", [1.0], 0, 4)},
        {"w": entry("F32", [2**62, 2**62], 0, 8)},
        {"w": entry("F32", [1] * 65, 0, 4)},
        {"w": {"dtype": "F32", "shape": [1]}},
        {"w": {**entry("F32", [1], 0, 4), "more": 1}},
        {"w": {"dtype": 5, "shape": [1], "data_offsets": [0, 4]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}},
        {"w": [1]},
        {"__metadata__": {"a": 1}},
        {"__metadata__": "text"},
        {"n" * 5000: entry("F32", [1], 0, 4)},
        f'{{"a":{VALID},"a":{VALID}}}',
        '{"__metadata__":{"a":"1","a":"1"}}',
        f'{{"\\ud800":{VALID}}}',
        '{"__metadata__":{"a":"\\udc00"}}',
        '{"w":NaN}',
        '{"w":' + "9" * 5000 + "}",
        '{"w":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "{" * 300_000,
        "{" + "," * 5_000_000 + "}",
        '{"w":',
        b'{"\xff":1}',
        "{}x",
        "[]",
        " {}",
        "",
    ],
)
def test_what_breaks_a_rule_is_plain_bytes(header: Any) -> None:
    assert read(header, bytes(8)) is None


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 12, 40])
def test_a_truncated_file_is_plain_bytes(size: int) -> None:
    assert parse(BytesSource(safetensors_file({"w": entry("F32", [1], 0, 4)}, bytes(4))[:size])) is None


def test_a_header_size_beyond_the_file_reads_nothing() -> None:
    class Watched(BytesSource):
        def read(self, offset: int, length: int) -> bytes:
            assert length <= HEAD_BYTES
            return super().read(offset, length)

    for size in (99_999_999, 100_000_001, 2**63, 2**64 - 1):
        assert parse(Watched(size.to_bytes(8, "little") + b'{"a":1}')) is None


def test_a_header_of_any_size_is_told_from_other_formats() -> None:
    for padding in range(600):
        name = "torch.distributed.checkpoint.metadata"
        raw = safetensors_file(json.dumps({name: entry("U8", [1], 0, 1)}) + " " * padding, b"1")
        layout = parse(BytesSource(raw))
        assert layout is not None, padding
        assert layout.format == "safetensors"


def test_a_header_that_is_too_large_is_not_read() -> None:
    class Endless(BytesSource):
        @property
        def size_bytes(self) -> int:
            return 1 << 40

        def read(self, offset: int, length: int) -> bytes:
            assert length <= HEAD_BYTES
            return super().read(offset, length)

    assert parse(Endless((100_000_001).to_bytes(8, "little") + b'{"a":1}')) is None


@pytest.mark.parametrize(("value", "count"), [("{}", 1_000_000), ("[]", 1_000_000), ("1", 5_000_000)])
def test_a_header_of_countless_values_is_not_decoded(value: str, count: int) -> None:
    raw = safetensors_file('{"w":[' + (value + ",") * count + "1]}")
    tracemalloc.start()
    assert parse(BytesSource(raw)) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(raw)


def test_bytes_after_the_tensors_belong_to_none() -> None:
    raw = safetensors_file({"w": entry("F32", [1], 0, 4)}, bytes(100))
    layout = parse(BytesSource(raw))
    assert layout is not None
    assert_promises(layout, len(raw))
