from __future__ import annotations

import struct

import pytest

from mlver.formats import Layout, Tensor, diagnose, msgpack, parse
from tests.support.weight_files import BytesSource, MsgpackArray, assert_promises
from tests.support.weight_files import msgpack as packed

ARRAY = MsgpackArray("float32", (2, 3), bytes(range(24)))


def read(value: object) -> Layout | None:
    raw = value if isinstance(value, bytes) else packed(value)
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


def names(value: object) -> list[str]:
    layout = read(value)
    assert layout is not None
    return [tensor.name for tensor in layout.tensors]


def test_an_array_is_where_its_bytes_are() -> None:
    raw = packed({"w": ARRAY})
    layout = parse(BytesSource(raw))
    assert layout == Layout("msgpack", (Tensor("w", "F32", (2, 3), raw.index(bytes(range(24))), 24),))


def test_keys_and_positions_become_names() -> None:
    value = {"params": {"a": ARRAY, 0: ARRAY}, "list": [ARRAY, {"": ARRAY}], "l" * 40: ARRAY}
    assert names(value) == ["params.a", "params.0", "list.0", "list.1.", "l" * 40]
    assert names({"a.b": ARRAY, "a": {"b": ARRAY}}) == ["a.b", "a.b#2"]


def test_other_values_are_passed() -> None:
    raw = b"\x82\xa1w" + packed(ARRAY) + b"\xa1o"
    # Each with its shortest form: numbers, texts, bytes, extensions of other types, short arrays and maps.
    for value in (
        [b"\x05", b"\xff", b"\xca" + bytes(4), b"\xcb" + bytes(8), b"\xc0", b"\xc2", b"\xc3"]
        + [bytes([0xCC + power]) + bytes(1 << power) for power in range(4)]
        + [bytes([0xD0 + power]) + bytes(1 << power) for power in range(4)]
        + [b"\xa0", b"\xd9\x01x", b"\xda\0\x01x", b"\xdb\0\0\0\x01x", b"\xc4\x01x", b"\xc5\0\x01x", b"\xc6\0\0\0\x01x"]
        + [bytes([0xD4 + power]) + b"\x07" + bytes(1 << power) for power in range(5)]
        + [b"\xc7\x01\x07x", b"\xc8\0\x01\x07x", b"\xc9\0\0\0\x01\x07x", b"\x91\x01", b"\xdc\0\x01\x01", b"\x80"]
        + [b"\xde\0\x01\xa1k\x01", b"\xdf\0\0\0\x01\xcc\xc8\x01"]
    ):
        assert names(raw + value) == ["w"], value


@pytest.mark.parametrize("kind", [1, 3])
def test_scalars_are_arrays(kind: int) -> None:
    layout = read({"step": MsgpackArray("int64", (), bytes(8), kind)})
    assert layout is not None
    assert (layout.tensors[0].dtype, layout.tensors[0].shape) == ("I64", ())


def test_an_array_of_an_unknown_type_is_left_out() -> None:
    layout = read({"w": ARRAY, "odd": MsgpackArray("int4", (2,), bytes(2))})
    assert layout is not None
    assert ([tensor.name for tensor in layout.tensors], layout.is_complete) == (["w"], False)


def shaped(*shape: int, dtype: str = "float32", size: int = 24) -> object:
    return {"w": MsgpackArray(dtype, shape, bytes(size))}


@pytest.mark.parametrize(
    "value",
    [
        {"text": "only"},
        shaped(2, 4),
        shaped(2**63, 2**63),
        shaped(*[1] * 65, size=4),
        shaped(*[1] * 65, size=4, dtype="odd"),
        {"w": ARRAY, "k" * 20_000: 1},
        packed({"w": ARRAY}) + b"\0",
        packed({"w": ARRAY})[:-1],
        packed({"w": ARRAY}).replace(b"\xc6\0\0\0\x18", b"\xc6\0\0\0\x17"),
        packed({"w": ARRAY}).replace(b"\x93\xdd", b"\x92\xdd"),
        packed({"w": ARRAY}).replace(b"\xa7float32", b"\xc4\x06float3"),
        packed({"w": ARRAY, "more": 1}).replace(b"\xa4more\x01", b"\xa4more\xc1"),
        packed({"w": ARRAY, "more": 1}).replace(b"\xa4more", b"\xa4\xff\xff\xff\xff"),
        packed({"w": ARRAY}).replace(b"\xdf\0\0\0\x01", b"\xdf\xff\xff\xff\xff"),
        packed({"a": 1}).replace(b"\x01", b"\xdb\xff\xff\xff\xff"),
        b"\xdf\xff\xff\xff\xff\xa0" + b"\x81\xa0" * 1000,
    ],
)
def test_what_breaks_a_rule_is_plain_bytes(value: object) -> None:
    assert read(value) is None


def test_other_beginnings_are_not_tried() -> None:
    for raw in (b"\x80", b"\x81\x01\x01", b"\x93\x01\x02\x03", b"\xde", b"\xdf\0\0", b"\x81"):
        assert diagnose(BytesSource(raw)) == (None, None)


def test_depth_and_work_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep: object = ARRAY
    for _ in range(msgpack.MAX_DEPTH - 1):
        deep = {"d": deep}
    assert read(deep) is not None
    assert read({"d": {"d": deep}}) is None
    wide = {"w": ARRAY, "l": [0] * 1000}
    assert read(wide) is not None
    monkeypatch.setattr(msgpack, "MAX_STEPS", 1000)
    assert read(wide) is None


def test_only_heads_are_read() -> None:
    class Watched(BytesSource):
        total = 0

        def read(self, offset: int, length: int) -> bytes:
            Watched.total += length
            return super().read(offset, length)

    big = MsgpackArray("uint8", (1 << 20,), bytes(1 << 20))
    assert parse(Watched(packed({"a": big, "b": big}))) is not None
    assert Watched.total < 1 << 17


def test_the_size_of_an_extension_binds() -> None:
    inner = packed(ARRAY)[6:]
    longer = b"\x81\xa1w\xc9" + struct.pack(">LB", len(inner) + 1, 1) + inner + b"\0"
    assert read(longer) is None
