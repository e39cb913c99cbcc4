"""Torch files made by hand: what torch never writes, and what nobody should."""

from __future__ import annotations

import struct
from collections import OrderedDict
from pathlib import Path

import pytest

from mlver.formats import Layout, parse, torch_zip
from tests.support.weight_files import (
    BytesSource,
    Instance,
    Name,
    Storage,
    Tensor,
    TorchFile,
    assert_promises,
    pickled,
    stored_zip,
)


def read(file: TorchFile) -> Layout | None:
    raw = file.to_bytes()
    layout = parse(BytesSource(raw))
    if layout is not None:
        assert_promises(layout, len(raw))
    return layout


def names_of(root: object, storages: list[Storage]) -> list[str]:
    layout = read(TorchFile(root, storages))
    assert layout is not None
    return [item.name for item in layout.arrays]


def vector(key: str, size: int = 4) -> Tensor:
    return Tensor(Storage(key, bytes(4 * size)), (size,), (1,))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_tensor_is_found_in_its_aligned_storage(protocol: int) -> None:
    weight = Tensor(Storage("0", bytes(range(24))), (2, 3), (3, 1))
    file = TorchFile({"w": weight}, [weight.storage], protocol=protocol)
    layout = read(file)
    assert layout is not None
    (tensor,) = layout.tensors
    assert (tensor.name, tensor.dtype, tensor.shape, tensor.offset % 64) == ("w", "F32", (2, 3), 0)
    assert file.to_bytes()[tensor.offset :][:24] == bytes(range(24))


def test_names_join_keys_and_positions() -> None:
    tensors = [vector(str(index)) for index in range(4)]
    root = {"model": {"w": tensors[0]}, "state": {0: [tensors[1], (tensors[2],)]}, ("odd", 1): tensors[3], "lr": 0.1}
    assert names_of(root, [tensor.storage for tensor in tensors]) == ["model.w", "state.0.0", "state.0.1.0", "?"]


def test_a_lone_tensor_has_a_name() -> None:
    tensor = vector("0")
    assert names_of(tensor, [tensor.storage]) == ["tensor"]


def test_names_that_would_be_equal_are_told_apart() -> None:
    first, second, third = vector("0"), vector("1"), vector("2")
    root = {"a.b": first, "a": {"b": second}, "a.b#2": third}
    assert names_of(root, [first.storage, second.storage, third.storage]) == ["a.b", "a.b#2", "a.b#2#2"]


def test_one_dictionary_under_two_names_gives_both() -> None:
    tensor = vector("0")
    weights = {"w": tensor}
    assert names_of({"model": weights, "ema": weights}, [tensor.storage]) == ["model.w", "ema.w"]


def test_an_ordered_dictionary_and_objects_are_entered() -> None:
    first, second = vector("0"), vector("1")
    root = Instance(Name("mine", "Checkpoint"), (second,), {"weights": OrderedDict(w=first)})
    layout = read(TorchFile(root, [first.storage, second.storage]))
    assert layout is not None
    assert [tensor.name for tensor in layout.tensors] == ["weights.w", "0"]
    assert layout.unsafe_globals == ("mine.Checkpoint",)


def test_an_object_within_itself_is_entered_once() -> None:
    tensor = vector("0")
    parent: dict[str, object] = {"w": tensor}
    parent["child"] = {"parent": parent, "list": [parent]}
    assert names_of(parent, [tensor.storage]) == ["w"]


def test_storages_that_nothing_names_are_weights_all_the_same() -> None:
    quantized = Storage("0", bytes(8))
    root = {"q": Instance(Name("torch._utils", "_rebuild_qtensor"), (quantized, 0, (8,), (1,), (), False, {}))}
    layout = read(TorchFile(root, [quantized]))
    assert layout is not None
    (tensor,) = layout.tensors
    assert (tensor.name, tensor.anonymous, tensor.size_bytes) == ("storage:0[0:8]", True, 8)
    assert not layout.is_complete


def test_a_tensor_of_an_untyped_storage() -> None:
    storage = Storage("0", bytes(6), dtype=None)
    layout = read(TorchFile({"w": Tensor(storage, (2, 3), (3, 1), untyped_dtype="float8_e4m3fn")}, [storage]))
    assert layout is not None
    assert layout.tensors[0].dtype == "F8_E4M3"


def test_nothing_is_executed(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    tensor = vector("0")
    attack = Instance(Name("posix", "system"), (f"touch {touched}",))
    for protocol in (2, 4):
        layout = read(TorchFile({"w": tensor, "x": attack}, [tensor.storage], protocol=protocol))
        assert layout is not None
        assert layout.unsafe_globals == ("posix.system",)
        assert [item.name for item in layout.tensors] == ["w"]
    assert not touched.exists()


@pytest.mark.parametrize(
    ("opcodes", "named"),
    [
        (b"c__builtin__\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval"),
        (b"\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "os.system"),
        (b"(X\x02\x00\x00\x00idios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nX\x02\x00\x00\x00ido.", "os.system"),
        (b"cos\nsystem\n)\x81.", "os.system"),
        (b"cos\nsystem\n)}\x92.", "os.system"),
        (b"\x82\x07.", "copyreg.extension_7"),
        (b"ctorch\nload\n.", "torch.load"),
        (b"ctorch._utils\n_rebuild_tensor_v22\n.", "torch._utils._rebuild_tensor_v22"),
        (b"ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
    ],
)
def test_every_way_to_name_a_global_is_reported(opcodes: bytes, named: str) -> None:
    layout = read(TorchFile(pickle_bytes=b"\x80\x04" + opcodes))
    assert layout is not None
    assert layout.unsafe_globals == (named,)


def test_at_most_32_globals_are_reported() -> None:
    opcodes = b"".join(b"cmodule\nname%04d\n" % index for index in range(5000))
    layout = read(TorchFile(pickle_bytes=opcodes + b"."))
    assert layout is not None
    assert layout.unsafe_globals == tuple(f"module.name{index:04d}" for index in range(32))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(Storage("0", bytes(16)), (5,), (1,)),
        Tensor(Storage("0", bytes(16)), (2,), (4,)),
        Tensor(Storage("0", bytes(16)), (2,), (1,), start=3),
        Tensor(Storage("0", bytes(16)), (2,), (1,), start=-1),
        Tensor(Storage("0", bytes(16)), (2,), (1,), start=1 << 400),
        Tensor(Storage("0", bytes(16)), (2,), (-1,), start=1),
        Tensor(Storage("0", bytes(16)), (-2,), (1,)),
        Tensor(Storage("0", bytes(16)), (1 << 70,), (0,)),
        Tensor(Storage("0", bytes(16)), (1,) * 65, (1,) * 65),
        Tensor(Storage("0", bytes(16)), (2,), (1 << 70,)),
        Tensor(Storage("0", bytes(16)), (2, 1), (2, 1 << 20_000)),
        Tensor(Storage("0", bytes(16)), (1 << 40, 1 << 40), (0, 0)),
    ],
)
def test_a_tensor_outside_its_storage_makes_plain_bytes(tensor: Tensor) -> None:
    assert read(TorchFile({"w": tensor}, [tensor.storage])) is None


def test_a_tensor_with_nonsense_for_a_shape_is_no_tensor() -> None:
    storage = Storage("0", bytes(16))
    for shape, strides in (((2,), (1, 1)), (("x",), (1,)), ((True,), (1,))):
        layout = read(TorchFile({"w": Tensor(storage, shape, strides)}, [storage]))  # type: ignore[arg-type]
        assert layout is not None
        assert [item.name for item in layout.tensors] == ["storage:0[0:16]"]


def test_storages_that_overlap_make_plain_bytes() -> None:
    name = b"archive/data/1"
    inner = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 16, 16, len(name), 0) + name + bytes(16)
    outer, decoy = Storage("0", bytes(16) + inner), Storage("1", bytes(16))
    file = TorchFile([Tensor(outer, (4,), (1,)), Tensor(decoy, (4,), (1,))], [outer, decoy])
    raw = file.to_bytes()
    assert parse(BytesSource(raw)) is not None
    entry_at = raw.rindex(name) - 46
    nested = raw[: entry_at + 42] + struct.pack("<L", raw.index(inner)) + raw[entry_at + 46 :]
    assert parse(BytesSource(nested)) is None


def test_a_huge_pickle_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    file = TorchFile({"notes": "x" * 2000})
    assert read(file) is not None
    monkeypatch.setattr(torch_zip, "MAX_PICKLE_BYTES", 1000)
    assert read(file) is None


def test_a_key_that_python_cannot_write_out_is_no_error() -> None:
    tensor = vector("0")
    assert names_of({1 << 20_000: tensor}, [tensor.storage]) == ["?"]


def test_a_name_that_is_made_up_gives_way_to_no_other() -> None:
    tensor, unseen = vector("0"), Storage("1", bytes(16))
    assert read(TorchFile({"storage:1[0:16]": tensor, "x": unseen}, [tensor.storage, unseen])) is None


def test_a_missing_storage_makes_plain_bytes() -> None:
    assert read(TorchFile({"w": vector("0")})) is None


def test_big_endian_files_are_plain_bytes() -> None:
    tensor = vector("0")
    assert read(TorchFile({"w": tensor}, [tensor.storage], byte_order=b"big")) is None


def test_two_pickles_make_no_torch_file() -> None:
    body = pickled({})
    assert parse(BytesSource(stored_zip({"a/data.pkl": body, "a/version": b"3"}))) is not None
    assert parse(BytesSource(stored_zip({"a/data.pkl": body, "b/data.pkl": body}))) is None
    assert parse(BytesSource(stored_zip({"a/b/data.pkl": body}))) is None
