from __future__ import annotations

import struct
import time

import pytest

from mlver.formats import Layout, Tensor, diagnose, gguf, parse
from tests.support.weight_files import BytesSource, GgufFile, assert_promises, gguf_text

U32, TEXT, ARRAY, U64 = 4, 8, 9, 10
ONE = {"w": ("F32", (2, 3), bytes(24))}


def read(file: GgufFile | bytes) -> Layout | None:
    raw = file if isinstance(file, bytes) else file.to_bytes()
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


def pair(key: str, kind: int, form: str, *values: object) -> tuple[str, int, bytes]:
    return key, kind, struct.pack(form, *values)


@pytest.mark.parametrize("version", [2, 3])
def test_dimensions_are_turned_and_offsets_aligned(version: int) -> None:
    tensors = {**ONE, "v": ("BF16", (5,), bytes(10)), "q": ("Q4_K", (3, 256), bytes(432)), "s": ("F64", (), bytes(8))}
    layout = read(GgufFile(tensors, version=version))
    assert layout is not None
    start = layout.tensors[0].offset
    assert start % 32 == 0
    assert layout.tensors == (
        Tensor("w", "F32", (2, 3), start, 24),
        Tensor("v", "BF16", (5,), start + 32, 10),
        Tensor("q", "Q4_K", (3, 256), start + 64, 432),
        Tensor("s", "F64", (), start + 512, 8),
    )


def test_the_alignment_of_the_file_counts() -> None:
    layout = read(GgufFile(ONE, [pair("general.alignment", U32, "<L", 1024)], alignment=1024))
    assert layout is not None
    assert layout.tensors[0].offset == 1024


def test_values_of_every_type_are_passed() -> None:
    kinds = {0: "B", 1: "b", 2: "H", 3: "h", 4: "L", 5: "l", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
    pairs = [pair(form, kind, "<" + form, 1) for kind, form in kinds.items()]
    pairs += [("t", TEXT, gguf_text("text")), pair("n", ARRAY, "<LQ3L", U32, 3, 1, 2, 3)]
    pairs += [("a", ARRAY, struct.pack("<LQ", TEXT, 2) + gguf_text("one") + gguf_text(""))]
    pairs += [("d", ARRAY, struct.pack("<LQLQ2H", ARRAY, 1, 2, 2, 5, 6)), pair("e", ARRAY, "<LQ", TEXT, 0)]
    assert read(GgufFile(ONE, pairs)) is not None


def test_a_file_without_tensors_is_a_weight_file() -> None:
    assert read(GgufFile(pairs=[("general.name", TEXT, gguf_text("vocabulary"))])) == Layout("gguf", ())


@pytest.mark.parametrize(
    "file",
    [
        GgufFile(ONE, version=1),
        GgufFile(ONE, version=4),
        GgufFile(ONE, version=3 << 24),
        GgufFile({"w": (4, (32,), bytes(24))}),
        GgufFile({"w": (999, (32,), bytes(24))}),
        GgufFile({"w": ("F32", (2, 3), b"")}),
        GgufFile({"w": ("F32", (1, 1, 1, 1, 1), bytes(4))}),
        GgufFile({"w": ("F32", (1 << 40, 1 << 40), bytes(4))}),
        GgufFile({"w": ("Q4_K", (2, 128), bytes(144))}),
        GgufFile({"w": ("Q4_K", (), bytes(144))}),
        GgufFile({"w": ("F32", (9,), bytes(36)), "v": ("F32", (9,), bytes(36))}, alignment=16),
        GgufFile({"n" * 5000: ("F32", (1,), bytes(4))}),
        GgufFile(ONE, [pair("general.alignment", U32, "<L", 0)]),
        GgufFile(ONE, [pair("general.alignment", U32, "<L", 24)]),
        GgufFile(ONE, [pair("general.alignment", U32, "<L", 1 << 30)]),
        GgufFile(ONE, [pair("general.alignment", U64, "<Q", 32)]),
        GgufFile(ONE, [pair("k", 13, "<L", 0)]),
        GgufFile(ONE, [pair("k", TEXT, "<Q", 1 << 63)]),
        GgufFile(ONE, [pair("k", ARRAY, "<LQ", U64, (1 << 64) - 1)]),
        GgufFile(ONE, [pair("k", ARRAY, "<LQ", TEXT, (1 << 64) - 1)]),
        GgufFile(ONE, [pair("k", ARRAY, "<" + "LQ" * 5 + "LQL", *[ARRAY, 1] * 5, U32, 1, 7)]),
        GgufFile(ONE, [("k" * 70_000, U32, bytes(4))]),
    ],
)
def test_what_breaks_a_rule_is_plain_bytes(file: GgufFile) -> None:
    assert read(file) is None


def test_tensors_that_overlap_are_plain_bytes() -> None:
    raw = GgufFile({**ONE, "v": ("F32", (1,), bytes(4))}).to_bytes()
    moved = raw.replace(struct.pack("<QLQ", 1, 0, 32), struct.pack("<QLQ", 1, 0, 0))
    assert moved != raw
    assert read(moved) is None


def test_a_name_that_is_no_text_is_plain_bytes() -> None:
    raw = GgufFile({"name": ("F32", (1,), bytes(4))}).to_bytes()
    assert read(raw) is not None
    assert read(raw.replace(b"name", b"n\xff\xffe")) is None


@pytest.mark.parametrize("counts", [(1 << 40, 0), (0, 1 << 40), ((1 << 18) + 1, 0), (0, (1 << 16) + 1)])
def test_counts_beyond_the_limits_are_not_believed(counts: tuple[int, int]) -> None:
    raw = b"GGUF" + struct.pack("<LQQ", 3, *counts) + bytes(4096)
    assert diagnose(BytesSource(raw)) == (None, "the header lists too much")


def test_every_truncation_is_plain_bytes() -> None:
    raw = GgufFile(ONE, [("a", ARRAY, struct.pack("<LQ", TEXT, 1) + gguf_text("one"))]).to_bytes()
    assert not any(read(raw[:size]) for size in range(len(raw) - 8))


def test_a_large_vocabulary_is_passed_quickly_and_a_huge_one_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    words = b"".join(gguf_text("token") for _ in range(100_000))
    file = GgufFile(ONE, [("tokens", ARRAY, struct.pack("<LQ", TEXT, 100_000) + words)])
    start = time.thread_time()
    assert read(file) is not None
    assert time.thread_time() - start < 2
    monkeypatch.setattr(gguf, "MAX_STEPS", 99_999)
    assert read(file) is None
