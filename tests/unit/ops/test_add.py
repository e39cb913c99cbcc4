from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlver.errors import MlverError, NotFoundError, UsageError
from mlver.repository import Repository
from tests.support.trees import read_tree, without_index, write_tree


def test_first_version(repository: Repository, tmp_path: Path) -> None:
    model = write_tree(tmp_path / "m", {"a.bin": b"1" * 1000, "sub/b.txt": b"2"})
    done = repository.add(
        model, name="net", type="resnet", message="m", aliases=["best", "best"], tags=["x", "w", "x"],
        metadata={"lr": 0.1, "deep": {"list": [1, None, True]}}, metrics={"acc": 1, "loss": 0.5},
    )  # fmt: skip
    version = done.version
    assert (done.created, done.moved_aliases, done.weights_identical_to) == (True, ("best",), None)
    assert (version.name, version.type, version.message) == ("net:v0", "resnet", "m")
    assert (version.aliases, version.tags) == (("latest", "best"), ("w", "x"))
    assert version.metadata == {"lr": 0.1, "deep": {"list": [1, None, True]}}
    assert version.metrics == {"acc": 1, "loss": 0.5}
    assert (version.file_count, version.logical_bytes, version.new_bytes) == (2, 1001, 1001)
    assert 0 < version.stored_bytes < 1001
    assert [entry.path for entry in repository.manifest("v0").files] == ["a.bin", "sub/b.txt"]
    with without_index(repository) as again:
        assert again.resolve("net:best") == version


def test_equal_content_makes_no_version_but_moves_aliases(repository: Repository, model: Path) -> None:
    repository.add(model, name="net", type="model", aliases=["best"], metrics={"acc": 0.1})
    for number in (1, 2):
        (model / "w").write_bytes(b"%d" % number)
        repository.add(model, aliases=["best"])
    (model / "w").write_bytes(b"first")
    done = repository.add(
        model, aliases=["best", "old"], tags=["t"], metrics={"acc": 0.2}, metadata={"k": 1}, message="again"
    )
    assert (done.created, done.version.name, done.moved_aliases) == (False, "net:v0", ("best", "old"))
    assert (done.version.aliases, done.version.tags) == (("best", "old"), ("t",))
    assert (done.version.metrics, done.version.metadata) == ({"acc": 0.2}, {"k": 1})
    assert "message was not recorded" in done.warnings[0]
    assert repository.resolve("latest").name == "net:v2", "latest went back"
    assert [version.number for version in repository.log()] == [2, 1, 0]
    assert repository.add(model, aliases=["best"]).moved_aliases == ()


def test_equal_content_twice_says_nothing_new(repository: Repository, model: Path) -> None:
    repository.add(model, name="net", type="model", tags=["t"], metadata={"k": 1})
    before = len(repository.reflog())
    assert not repository.add(model, tags=["t"], metadata={"k": 1}).created
    assert len(repository.reflog()) == before


def test_equal_content_under_another_name_is_another_artifact(repository: Repository, model: Path) -> None:
    first = repository.add(model, name="net", type="model")
    second = repository.add(model, name="copy", type="model")
    assert second.created
    assert (second.version.name, second.version.id, second.new_bytes) == ("copy:v0", first.version.id, 0)
    assert first.version.new_bytes > 0


def test_equality_is_of_bytes_names_folders_and_the_executable_bit(repository: Repository, tmp_path: Path) -> None:
    made = []
    for number, change in enumerate(["", "rename", "folder", "mode"]):
        folder = write_tree(tmp_path / str(number), {"b" if change == "rename" else "a": b"x"})
        if change == "folder":
            (folder / "empty").mkdir()
        if change == "mode":
            (folder / "a").chmod(0o755)
        made.append(repository.add(folder, name="net", type="t"))
    assert [done.created for done in made] == [True] * 4
    assert [done.new_bytes for done in made] == [1, 0, 0, 0]


def test_numbers_are_not_used_again_after_removal(repository: Repository, model: Path) -> None:
    repository.add(model, name="net", type="model")
    (model / "w").write_bytes(b"second")
    repository.add(model)
    repository.remove("v1")
    assert repository.resolve("latest").number == 0
    done = repository.add(model)
    assert (done.created, done.version.number) == (True, 2), "a removed version took content, or its number went around"
    repository.remove("v0", "v2")
    assert repository.log() == []
    assert repository.add(model).version.number == 3


def test_name_comes_from_where_the_content_was_added_before(
    repository: Repository, tmp_path: Path, model: Path
) -> None:
    repository.add(model, name="net", type="model")
    other = write_tree(tmp_path / "data", {"x": b"1"})
    repository.add(other, name="data", type="dataset")
    (model / "w").write_bytes(b"second")
    assert repository.add(model).version.name == "net:v1"
    assert repository.add(write_tree(tmp_path / "third", {"y": b"2"})).version.name == "net:v2", "the current artifact"


def test_name_is_needed_at_first(repository: Repository, model: Path) -> None:
    with pytest.raises(UsageError, match="No artifact is named"):
        repository.add(model)


def test_pulled_folder_knows_its_name(repository: Repository, tmp_path: Path, model: Path) -> None:
    repository.add(model, name="net", type="model")
    repository.pull("net", tmp_path / "out")
    repository.add(write_tree(tmp_path / "data", {"x": b"1"}), name="data", type="dataset")
    (tmp_path / "out" / "w").write_bytes(b"second")
    assert repository.add(tmp_path / "out").version.name == "net:v1"


def test_type_is_needed_once_and_never_changes(repository: Repository, model: Path) -> None:
    with pytest.raises(UsageError, match="needs a type"):
        repository.add(model, name="net")
    repository.add(model, name="net", type="model")
    repository.add(model, name="net")
    repository.add(model, name="net", type="model")
    with pytest.raises(UsageError, match="has the type 'model', not 'data'") as caught:
        repository.add(model, name="net", type="data")
    assert "--name net-data" in str(caught.value.hint)
    assert repository.resolve("net").type == "model"


@pytest.mark.parametrize("name", ["NET", "Net"])
def test_names_that_only_case_tells_apart_are_refused(repository: Repository, model: Path, name: str) -> None:
    repository.add(model, name="net", type="model")
    with pytest.raises(UsageError, match="'net'"):
        repository.add(model, name=name, type="model")


def test_bad_requests_are_refused_before_anything_is_written(repository: Repository, model: Path) -> None:
    repository.add(model, name="net", type="model")
    (model / "w").write_bytes(b"second")
    before = read_tree(repository.path)
    nan = float("nan")
    cycle: list[object] = []
    cycle.append(cycle)
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    for bad in (
        {"name": "a/b"}, {"name": "latest"}, {"name": "v3"}, {"name": "new", "type": "a b"}, {"name": "new"},
        {"aliases": ["latest"]}, {"aliases": ["v1"]}, {"aliases": "best"}, {"tags": ["a b"]}, {"tags": "t"},
        {"exclude": "*.pt"}, {"metrics": {"": 1}}, {"metrics": {"m": nan}}, {"metrics": {"m": float("inf")}},
        {"metrics": {"m": "0.5"}}, {"metrics": {"m": True}}, {"metadata": {"k": nan}}, {"metadata": {"k": {1}}},
        {"metadata": {"": 1}}, {"metadata": {1: 2}}, {"metadata": {"k": cycle}}, {"metadata": {"k": deep}},
        {"metadata": {"k": "\ud800"}}, {"metadata": {"\ud800": 1}}, {"message": "\udce9"},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            repository.add(model, **bad)
        assert read_tree(repository.path) == before, bad
    assert repository.add(model).version.number == 1


def test_metadata_of_the_greatest_depth_is_read_again(repository: Repository, model: Path) -> None:
    deep: object = 1
    for _ in range(64):
        deep = [deep]
    repository.add(model, name="net", type="t", metadata={"k": deep})
    with without_index(repository) as again:
        assert again.resolve("net").metadata == {"k": deep}
    with pytest.raises(UsageError, match="nests deeper"):
        repository.meta("net", {"k": [deep]})


def test_metadata_that_is_too_large_is_refused(repository: Repository, model: Path) -> None:
    with pytest.raises(UsageError, match="too large"):
        repository.add(model, name="net", type="t", metadata={"k": "x" * (17 << 20)})
    assert repository.artifacts() == []
    assert repository.add(model, name="net", type="t").version.number == 0


def test_paths_that_are_not_there(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="absent does not exist"):
        repository.add(tmp_path / "absent", name="net", type="t")
    with pytest.raises(UsageError, match="no path"):
        repository.add(name="net", type="t")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NotFoundError, match="nothing to add"):
        repository.add(tmp_path / "nothing", name="net", type="t")


def test_files_and_folders_together_keep_their_last_names(repository: Repository, tmp_path: Path) -> None:
    one = write_tree(tmp_path / "one", {"a": b"1"})
    file = write_tree(tmp_path / "x", {"c.txt": b"3"}) / "c.txt"
    repository.add(one, file, name="net", type="t")
    assert [entry.path for entry in repository.manifest("net").files] == ["c.txt", "one/a"]
    repository.add(file, name="one-file", type="t")
    assert [entry.path for entry in repository.manifest("one-file").files] == ["c.txt"]
    with pytest.raises(UsageError, match=r"Two of the paths are named 'c.txt'"):
        repository.add(file, write_tree(tmp_path / "y", {"c.txt": b""}) / "c.txt", name="net")


def test_new_bytes_are_those_the_store_did_not_have(repository: Repository, tmp_path: Path) -> None:
    big = os.urandom(3 << 20)
    first = repository.add(write_tree(tmp_path / "a", {"x": big, "copy": big}), name="net", type="t")
    assert (first.version.logical_bytes, first.new_bytes) == (6 << 20, 3 << 20)
    second = repository.add(write_tree(tmp_path / "b", {"x": big[:-10] + b"0123456789"}), name="net")
    assert 0 < second.new_bytes <= 1 << 20


def test_insertion_into_plain_bytes_costs_a_few_chunks(repository: Repository, tmp_path: Path) -> None:
    big = os.urandom(8 << 20)
    repository.add(write_tree(tmp_path / "a", {"x": big}), name="net", type="t")
    done = repository.add(write_tree(tmp_path / "b", {"x": big[:100] + b"inserted" + big[100:]}), name="net")
    assert 0 < done.new_bytes <= 2 << 20
    assert repository.open("latest", "x").read() == big[:100] + b"inserted" + big[100:]


@pytest.mark.parametrize("size", [0, 1, (64 << 10) + 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, (4 << 20) + 3])
@pytest.mark.parametrize("content", ["random", "zeros"])
def test_files_of_any_size_come_back(repository: Repository, tmp_path: Path, size: int, content: str) -> None:
    data = os.urandom(size) if content == "random" else bytes(size)
    folder = write_tree(tmp_path / "m", {"x": data, "name.safetensors": data, "y/weights.pt": data[::-1]})
    repository.add(folder, name="net", type="t")
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == read_tree(folder)


def test_many_files_come_back(repository: Repository, tmp_path: Path) -> None:
    files = {f"{number % 7}/{number}": b"%d" % (number // 2) * (number % 90) for number in range(500)}
    folder = write_tree(tmp_path / "m", files)
    repository.add(folder, name="net", type="t")
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == files


def test_unsafe_pickle_is_told_and_never_run(repository: Repository, tmp_path: Path) -> None:
    from tests.support.weight_files import Instance, Name, TorchFile

    trap = tmp_path / "trap"
    evil = TorchFile({"x": Instance(Name("posix", "system"), (f"touch {trap}",))}).to_bytes()
    done = repository.add(write_tree(tmp_path / "m", {"model.pt": evil}), name="net", type="t")
    assert "model.pt names posix.system" in done.warnings[0]
    assert not trap.exists()
    assert repository.open("net", "model.pt").read() == evil


@pytest.mark.parametrize(
    "content",
    [
        b"\x10\0\0\0\0\0\0\0{broken",
        b"\xff" * 8 + b"{",
        json.dumps({"a": 1}).encode(),
        b"PK\x03\x04" + b"\0" * 100,
        b"PK\x05\x06" + b"\xff" * 18,
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"\x80\x02cos\nsystem\n.",
    ],
)
def test_file_that_lies_about_its_format_is_bytes(repository: Repository, tmp_path: Path, content: bytes) -> None:
    files = {f"x.{suffix}": content for suffix in ("safetensors", "pt", "npz", "npy", "txt")}
    done = repository.add(write_tree(tmp_path / "m", files), name="net", type="t")
    assert done.version.tensor_count == 0
    repository.pull("net", tmp_path / "out")
    assert read_tree(tmp_path / "out") == files


def test_repository_inside_what_is_added_is_left_out(repository: Repository, tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": b"1", "sub/b": b"2"})
    Repository.init(tmp_path / "sub").close()
    repository.add(tmp_path, name="net", type="t")
    assert [entry.path for entry in repository.manifest("net").files] == ["a", "sub/b"]


def test_place_whose_name_is_no_utf8(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"caf\xe9")
    folder = write_tree(home / "model", {"a": b"1"})
    with Repository.init(home) as repository:
        repository.add(folder, name="net", type="t")
        assert not repository.add(folder).created
        assert repository.status(folder).is_clean
        assert repository.pull("net", home / "out").written == ("a",)


def test_disk_error_while_the_version_is_published_names_the_store(
    repository: Repository, model: Path, tmp_path: Path
) -> None:
    (repository.path / "manifests").write_text("a file where a folder should be")
    with pytest.raises(MlverError, match="manifests"):
        repository.add(model, name="net", type="t")
    assert repository.artifacts() == []
    (repository.path / "manifests").unlink()
    assert repository.add(model, name="net", type="t").version.number == 0
