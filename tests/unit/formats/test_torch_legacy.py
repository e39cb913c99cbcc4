"""Torch files of the format before zip files, made by hand: what torch never writes, and what nobody should."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mlver.formats import Layout, diagnose, parse, torch_legacy
from tests.support.weight_files import (
    BytesSource,
    Instance,
    Name,
    Storage,
    Tensor,
    TorchFile,
    assert_promises,
    pickled,
)

WEIGHT = Tensor(Storage("94", bytes(range(24))), (2, 3), (3, 1))
BIAS = Tensor(Storage("7", bytes(range(100, 108)), dtype="F16"), (4,), (1,))
FILE = TorchFile({"w": WEIGHT, "b": BIAS}, [WEIGHT.storage, BIAS.storage])


def read(raw: bytes) -> Layout | None:
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


def problem_of(raw: bytes) -> str | None:
    layout, problem = diagnose(BytesSource(raw))
    assert layout is None
    return problem


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_are_found_in_the_order_of_the_keys(protocol: int) -> None:
    raw = TorchFile(FILE.root, FILE.storages, protocol=protocol).to_legacy_bytes()
    layout = read(raw)
    assert layout is not None
    assert layout.format == "torch"
    found = [(tensor.name, tensor.dtype, tensor.shape) for tensor in layout.tensors]
    assert found == [("b", "F16", (4,)), ("w", "F32", (2, 3))]
    for tensor, described in zip(layout.tensors, (BIAS, WEIGHT), strict=True):
        assert raw[tensor.offset :][: tensor.size_bytes] == described.storage.data


def test_what_follows_the_storages_is_no_harm() -> None:
    layout = read(FILE.to_legacy_bytes() + b"another file")
    assert layout is not None
    assert len(layout.tensors) == 2


def test_a_storage_is_named_by_its_number_and_not_by_an_address() -> None:
    unseen = Storage("31", bytes(8))
    quantized = Instance(Name("torch._utils", "_rebuild_qtensor"), (unseen, 0, (2,), (1,), (), False, {}))
    layout = read(TorchFile({"w": WEIGHT, "q": quantized}, [WEIGHT.storage, unseen]).to_legacy_bytes())
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["storage:1[0:8]", "w"]
    assert not layout.is_complete


def test_a_tensor_of_an_untyped_storage() -> None:
    storage = Storage("0", bytes(6), dtype=None)
    tensor = Tensor(storage, (2, 3), (3, 1), untyped_dtype="float8_e4m3fn")
    layout = read(TorchFile({"w": tensor}, [storage]).to_legacy_bytes())
    assert layout is not None
    assert [(tensor.dtype, tensor.size_bytes) for tensor in layout.tensors] == [("F8_E4M3", 6)]


@pytest.mark.parametrize("part", ["magic", "version", "writer", "objects", "keys"])
def test_every_pickle_is_searched_for_names_that_weights_do_not_need(part: str) -> None:
    attack = b"cposix\nsystem\n0"  # named, and thrown away
    values: dict[str, object] = {
        "magic": 0x1950A86A20F9469CFC6C,
        "version": 1001,
        "writer": {"little_endian": True},
        "objects": FILE.root,
        "keys": ["7", "94"],
    }
    pickle = pickled(values[part], is_legacy=True)
    raw = FILE.to_legacy_bytes(**{part: pickle[:2] + attack + pickle[2:]})
    if part == "magic":  # then the file does not begin as one, and nobody takes it for weights
        assert read(raw) is None
        return
    layout = read(raw)
    assert layout is not None
    assert layout.unsafe_globals == ("posix.system",)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"version": pickled(1002)}, "known version"),
        ({"magic": pickled(0x1950A86A20F9469CFC6C + (1 << 76))}, "known version"),
        ({"writer": pickled({"little_endian": False})}, "big-endian"),
        ({"writer": pickled({"type_sizes": 4})}, "big-endian"),
        ({"writer": pickled(["little_endian", True])}, "big-endian"),
        ({"keys": pickled(["7"])}, "not those"),
        ({"keys": pickled(["7", "94", "95"])}, "not those"),
        ({"keys": pickled("94")}, "not those"),
        ({"keys": pickled(["7", "7"])}, "none that the objects have"),
        ({"keys": pickled(["7", "95"])}, "none that the objects have"),
        ({"keys": pickled([7, 94])}, "none that the objects have"),
        ({"keys": pickled([["7"], "94"])}, "none that the objects have"),
        ({"keys": b"\x80\x02]\xff."}, "malformed"),
        ({"objects": b"\x80\x02cmodule\n" + b"x" * 100_000}, "malformed"),
        ({"objects": b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little")}, "too large"),
    ],
)
def test_what_breaks_a_rule_is_plain_bytes(parts: dict[str, bytes], problem: str) -> None:
    assert problem in (problem_of(FILE.to_legacy_bytes(**parts)) or "")


@pytest.mark.parametrize("cut_bytes", [1, 24, 25, 32, 33, 40, 41, 100])
def test_a_file_that_is_cut_is_plain_bytes(cut_bytes: int) -> None:
    assert problem_of(FILE.to_legacy_bytes()[:-cut_bytes]) is not None


def test_a_storage_of_more_elements_than_the_file_has_is_plain_bytes() -> None:
    raw = FILE.to_legacy_bytes()
    size_at = len(raw) - 24 - 8
    for count in (7, 1 << 40, (1 << 64) - 1):
        assert "after the file" in (problem_of(raw[:size_at] + count.to_bytes(8, "little") + raw[size_at + 8 :]) or "")


def test_a_tensor_outside_its_storage_is_plain_bytes() -> None:
    raw = FILE.to_legacy_bytes()
    size_at = len(raw) - 24 - 8
    assert "larger than its storage" in (
        problem_of(raw[:size_at] + (5).to_bytes(8, "little") + raw[size_at + 8 :]) or ""
    )


@pytest.mark.parametrize(
    ("identity", "is_found"),
    [
        (("storage", Name("torch", "FloatStorage"), "7", "cpu", 2, None), True),
        (("storage", Name("torch.cuda", "FloatStorage"), "7", "cuda:0", 2, None), True),
        (("storage", Name("torch", "QInt8Storage"), "7", "cpu", 8, None), True),
        (("storage", Name("torch", "FloatStorage"), "7", "cpu", 2, ("8", 0, 2)), False),
        (("storage", Name("torch", "NewStorage"), "7", "cpu", 2, None), False),
        (("module", Name("mine", "Net"), "net.py", "class Net"), False),
    ],
)
def test_persistent_ids(identity: Sequence[object], is_found: bool) -> None:
    count = 8 if "QInt8" in str(vars(identity[1])) else 2
    objects = pickled(tuple(identity))[:-1] + b"Q."
    raw = TorchFile().to_legacy_bytes(objects=objects, keys=pickled(["7"])) + count.to_bytes(8, "little") + bytes(8)
    layout = read(raw)
    assert (layout is not None) == is_found
    if layout is not None:
        assert [(tensor.name, tensor.size_bytes) for tensor in layout.tensors] == [("storage:0[0:8]", 8)]


def test_pickles_are_read_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    root = {"notes": "x" * 300, "names": [Instance(Name(f"module{number}", "name")) for number in range(50)]}
    file = TorchFile(root | {"w": WEIGHT}, [WEIGHT.storage])
    expected = read(file.to_legacy_bytes())
    assert expected is not None
    for window_bytes in (25, 64, 1000):
        monkeypatch.setattr(torch_legacy, "_WINDOW_BYTES", window_bytes)
        assert read(file.to_legacy_bytes()) == expected


def test_huge_pickles_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    file = TorchFile({"notes": "x" * 2000})
    assert read(file.to_legacy_bytes()) is not None
    monkeypatch.setattr(torch_legacy, "MAX_PICKLE_BYTES", 1000)
    monkeypatch.setattr(torch_legacy, "_WINDOW_BYTES", 100)
    assert "too large" in (problem_of(file.to_legacy_bytes()) or "")
