"""torch's distributed checkpoints: what `.metadata` says of the other files, and what is in these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mlver.formats import Beside, ExternalSave, Layout, beside, diagnose, pickle_machine
from tests.support.weight_files import (
    BytesSource,
    Instance,
    Name,
    Storage,
    Tensor,
    TorchFile,
    assert_promises,
    dcp_entry,
    dcp_metadata,
    pickled,
    stored_zip,
)

DATA = Path(__file__).parent / "data" / "dcp"
FILE = "__0_0.distcp"


def tensor(name: str, values: Sequence[int]) -> tuple[str, bytes]:
    storage = Storage("0", np.array(values, "<f4").tobytes())
    return name, TorchFile(Tensor(storage, (len(values),), (1,)), [storage]).to_bytes()


def checkpoint(*saved: tuple[str, bytes]) -> dict[str, bytes]:
    """Return the files of a checkpoint of what was saved by these names."""
    entries, content = [], b""
    for name, raw in saved:
        entries.append(dcp_entry(name, FILE, len(content), len(raw)))
        content += raw
    return {".metadata": dcp_metadata(entries), FILE: content}


def read(files: dict[str, bytes]) -> dict[str, tuple[Layout | None, str | None]]:
    """Return what is found in each file, as `add` finds it."""
    external = {}
    for path, raw in files.items():
        layout, _ = diagnose(BytesSource(raw))
        if layout is not None and layout.external:
            external[path] = layout.external
    told = beside(external, files)
    found = {path: diagnose(BytesSource(raw), told.get(path)) for path, raw in files.items()}
    for path, (layout, _) in found.items():
        if layout is not None:
            assert_promises(layout, len(files[path]))
    return found


def places(entries: Sequence[tuple[object, object]], protocol: int = 4) -> Layout:
    layout, problem = diagnose(BytesSource(dcp_metadata(entries, protocol)), Beside(has_others=True))
    assert layout is not None, problem
    assert layout.format == "dcp"
    return layout


def test_what_torch_saved() -> None:
    files = {path.name: path.read_bytes() for path in DATA.iterdir()}
    found = read(files)
    formats = {".metadata": "dcp", "__0_0.distcp": "dcp-data", "__1_0.distcp": "dcp-data"}
    assert found.keys() == formats.keys()
    arrays = {}
    for path, (layout, problem) in found.items():
        assert layout is not None
        assert (layout.format, layout.is_complete, problem, layout.unsafe_globals) == (formats[path], True, None, ())
        for item in layout.tensors:
            arrays[item.name] = (item.dtype, item.shape, files[path][item.offset : item.offset + item.size_bytes])
    grid = np.arange(60, dtype="<f4").reshape(10, 6)
    bias = (np.arange(6, dtype="<f4").view("<u4") >> 16).astype("<u2")
    assert arrays == {
        "model.rows[0,0]": ("F32", (5, 6), grid[:5].tobytes()),
        "model.rows[5,0]": ("F32", (5, 6), grid[5:].tobytes()),
        "model.columns[0,0]": ("F32", (4, 3), grid[:4, :3].tobytes()),
        "model.columns[0,3]": ("F32", (4, 3), grid[:4, 3:].tobytes()),
        "model.bias": ("BF16", (6,), bias.tobytes()),
        "rng": ("U8", (5,), bytes(range(5))),
        "loader.seen": ("I64", (3,), np.arange(3, dtype="<i8").tobytes()),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_places_are_read_whatever_the_protocol(protocol: int) -> None:
    layout = places([dcp_entry("w", FILE, 7, 9)], protocol)
    assert layout.external == (ExternalSave("w", FILE, 7, 9),)


@pytest.mark.parametrize(
    ("at", "names"),
    [
        ([None], ["w"]),
        ([()], ["w"]),
        ([(0, 0)], ["w"]),
        ([(0, 4)], ["w[0,4]"]),
        ([(0, 0), (0, 4)], ["w[0,0]", "w[0,4]"]),
        ([("x",)], ["w"]),
    ],
)
def test_a_part_is_named_by_where_it_begins(at: Sequence[object], names: Sequence[str]) -> None:
    layout = places([dcp_entry("w", FILE, 9 * n, 9, at=each) for n, each in enumerate(at)])
    assert [place.name for place in layout.external] == names


@pytest.mark.parametrize(
    "entry",
    [
        dcp_entry("w", FILE, 0, 9, transform_descriptors=["zstd"]),
        dcp_entry("w", FILE, -1, 9),
        dcp_entry("w", FILE, 0, -9),
        dcp_entry("w", FILE, "0", 9),
        dcp_entry("w", 3, 0, 9),
        dcp_entry(None, FILE, 0, 9),
        ("w", FILE),
    ],
)
def test_an_entry_of_another_kind_makes_the_rest_incomplete(entry: tuple[object, object]) -> None:
    layout = places([dcp_entry("v", FILE, 9, 9), entry])
    assert ([place.name for place in layout.external], layout.is_complete) == (["v"], False)
    assert places([dcp_entry("v", FILE, 9, 9)]).is_complete is True


@pytest.mark.parametrize(
    "raw",
    [
        pickled(Instance(Name("torch.distributed.checkpoint.metadata", "Metadata"), (), {"storage_data": [1]}), 4),
        pickled(Instance(Name("torch.distributed.checkpoint.metadata", "Metadata"), ()), 4),
        pickled(Name("torch.distributed.checkpoint.metadata", "Metadata"), 4),
        dcp_metadata([dcp_entry("w", FILE, 0, 9)])[:-1],
        dcp_metadata([dcp_entry("w", FILE, 0, 9, at=(0, 1 << 70))]),
        dcp_metadata([dcp_entry("w" * 4000, FILE, 0, 9, at=(0, 1 << 60, 1 << 60, 1 << 60, 1 << 60, 1 << 60))]),
        dcp_metadata([dcp_entry("w" * 5000, FILE, 0, 9)]),
    ],
)
def test_metadata_that_breaks_a_rule_is_plain_bytes(raw: bytes) -> None:
    layout, problem = diagnose(BytesSource(raw))
    assert layout is None
    assert problem is not None


def test_names_that_checkpoints_do_not_need_are_told_of() -> None:
    attack = Instance(Name("posix", "system"), ("true",))
    assert places([dcp_entry("w", FILE, 0, 9), dcp_entry("v", attack, 0, 9)]).unsafe_globals == ("posix.system",)
    storage = Storage("0", bytes(4))
    save = TorchFile({"w": Tensor(storage, (1,), (1,)), "x": attack}, [storage]).to_bytes()
    layout, _ = read(checkpoint(("state", save)))[FILE]
    assert layout is not None
    assert layout.unsafe_globals == ("posix.system",)


@pytest.mark.parametrize("name", ["os.system", "_StorageInfo.__init__.__globals__", "FileSystemWriter"])
def test_what_is_reached_through_a_module_that_checkpoints_need_is_told_of(name: str) -> None:
    attack = Instance(Name("torch.distributed.checkpoint.filesystem", name), ("true",))
    layout = places([dcp_entry("w", FILE, 0, 9), dcp_entry("v", attack, 0, 9)])
    assert layout.unsafe_globals == (f"torch.distributed.checkpoint.filesystem.{name}",)


def test_a_small_file_that_mentions_much_time_and_again() -> None:
    long, many = "w" * 4000, tuple(range(100))
    entries = [dcp_entry(long, FILE, 0, 9, at=(number,)) for number in range(20_000)]
    assert "are too long" in (diagnose(BytesSource(dcp_metadata(entries)))[1] or "")
    assert "dimensions" in (diagnose(BytesSource(dcp_metadata([dcp_entry("w", FILE, 0, 9, at=many)])))[1] or "")


def test_of_an_object_with_many_attributes_few_are_looked_at() -> None:
    for fillers, found in ((50, 1), (100, 0)):
        more = {str(number): number for number in range(fillers)}
        index, info = dcp_entry("w", FILE, 0, 9)
        assert isinstance(info, Instance)
        assert isinstance(info.state, dict)
        assert len(places([(index, Instance(info.function, (), more | info.state))]).external) == found


def test_what_was_saved_under_a_name_comes_under_that_name() -> None:
    storage, unseen = Storage("0", np.arange(6, dtype="<f4").tobytes()), Storage("1", bytes(8))
    grid = Tensor(storage, (2, 3), (3, 1))
    root = {"grid": grid, "turned": Tensor(storage, (3, 2), (1, 3)), "q": [unseen]}
    save = TorchFile(root, [storage, unseen]).to_bytes()
    files = checkpoint(tensor("a", [1, 2]), ("state", save), tensor("b", [3]))
    layout, problem = read(files)[FILE]
    assert problem is None
    assert layout is not None
    found = [(item.name, item.shape, item.order) for item in layout.tensors]
    assert found == [
        ("a", (2,), "C"),
        ("state.grid", (2, 3), "C"),
        ("state.storage:1[0:8]", (8,), "C"),
        ("b", (1,), "C"),
    ]
    assert [item.anonymous for item in layout.tensors] == [False, False, True, False]
    assert [(view.name, view.order, view.owner) for view in layout.views] == [("state.turned", "F", 1)]
    for item, values in ((layout.tensors[0], [1, 2]), (layout.tensors[3], [3])):
        stretch = files[FILE][item.offset : item.offset + item.size_bytes]
        assert np.frombuffer(stretch, "<f4").tolist() == values


def test_one_name_for_two_tensors() -> None:
    layout, _ = read(checkpoint(tensor("a", [1]), tensor("a", [2])))[FILE]
    assert layout is not None
    assert [item.name for item in layout.tensors] == ["a", "a#2"]


def test_bytes_that_nobody_tells_of_make_a_file_incomplete() -> None:
    files = checkpoint(tensor("a", [1]))
    files[FILE] += b"more"
    layout, problem = read(files)[FILE]
    assert layout is not None
    assert (len(layout.tensors), layout.is_complete, problem) == (1, False, None)


def test_metadata_without_its_files_is_incomplete() -> None:
    files = checkpoint(tensor("a", [1]))
    del files[FILE]
    layout, _ = read(files)[".metadata"]
    assert layout is not None
    assert not layout.is_complete


@pytest.mark.parametrize(
    ("offset", "size_bytes", "problem"),
    [
        (0, 10_000, "outside of the file"),
        (1 << 70, 1, "outside of the file"),
        (0, 1 << 70, "outside of the file"),
        (0, 100, "end record"),
        (5, 0, "end record"),
    ],
)
def test_a_save_that_is_elsewhere_counts_as_a_whole(offset: int, size_bytes: int, problem: str) -> None:
    raw = tensor("a", [1])[1]
    layout, found = diagnose(BytesSource(raw), Beside((ExternalSave("w", FILE, offset, size_bytes),)))
    assert layout == Layout("dcp-data", (), is_complete=False)
    assert found is not None
    assert problem in found


def test_the_limits_are_for_all_that_was_saved_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tensor("w", [1])[1]
    placed = tuple(ExternalSave(f"w{number}", FILE, number * len(raw), len(raw)) for number in range(10))
    assert diagnose(BytesSource(raw * 10), Beside(placed))[1] is None
    monkeypatch.setattr(pickle_machine, "MAX_OPCODES", 200)
    assert diagnose(BytesSource(raw), Beside(placed[:1]))[1] is None
    layout, problem = diagnose(BytesSource(raw * 10), Beside(placed))
    assert layout == Layout("dcp-data", (), is_complete=False)
    assert problem == "the pickle has too many opcodes"


def test_saves_that_overlap_count_as_a_whole() -> None:
    raw = tensor("a", [1])[1]
    placed = (ExternalSave("v", FILE, 0, len(raw)), ExternalSave("w", FILE, len(raw) - 1, 1))
    layout, problem = diagnose(BytesSource(raw), Beside(placed))
    assert layout == Layout("dcp-data", (), is_complete=False)
    assert problem == "two things that were saved overlap"


def test_a_save_that_is_another_zip_file_counts_as_a_whole() -> None:
    raw = stored_zip({"a.npy": b"x"})
    layout, problem = diagnose(BytesSource(raw), Beside((ExternalSave("w", FILE, 0, len(raw)),)))
    assert layout == Layout("dcp-data", (), is_complete=False)
    assert problem == "what was saved is no zip file of torch's"
