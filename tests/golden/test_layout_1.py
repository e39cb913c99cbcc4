"""The committed repository of layout 1 comes back as it went in, whatever mlver has become since."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from mlver import Repository
from mlver.errors import NotARepositoryError
from tests.golden import make_layout_1
from tests.golden.make_layout_1 import FOLDER, STORED_AS
from tests.support.process import run_mlver

EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text("utf-8"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with a copy of the repository, as one has it after a clone."""
    shutil.copytree(FOLDER / STORED_AS, tmp_path / ".mlver")
    return tmp_path


def facts(folder: Path) -> dict[str, Any]:
    """Return size, digest and mode of every file, and None of every empty folder, by path."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            found |= {} if any(path.iterdir()) else {f"{name}/": None}
            continue
        raw = path.read_bytes()
        executable = bool(path.stat().st_mode & stat.S_IXUSR)
        found[name] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest(), "executable": executable}
    return found


def stored(home: Path) -> dict[str, bytes]:
    """Return everything in the repository that is no cache."""
    files = (path for path in sorted((home / ".mlver").rglob("*")) if path.is_file())
    names = {path.relative_to(home / ".mlver").as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(("index.sqlite", "tmp/"))}


def is_within(old: Any, new: Any) -> bool:
    """Tell whether all that was there is still there: documents may only gain fields."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and is_within(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_within, old, new))
    return bool(old == new)


def test_log_is_what_it_was(home: Path) -> None:
    done = run_mlver("log", "--all", "--removed", "--json", folder=home)
    assert (done.code, done.err) == (0, "")
    assert is_within(EXPECTED["logs"], json.loads(done.out)["artifacts"])


def test_reflog_is_what_it_was(home: Path) -> None:
    for name, wanted in EXPECTED["reflogs"].items():
        found = json.loads(run_mlver("reflog", name, "--json", folder=home).out)["events"]
        assert [[event["id"], *event["what"]] for event in found] == wanted


def test_every_revision_resolves_as_it_did(home: Path) -> None:
    with Repository.open(home) as repository:
        found = {revision: repository.resolve(revision).name for revision in EXPECTED["revisions"]}
    assert found == EXPECTED["revisions"]


def test_every_version_comes_back_byte_for_byte(home: Path, tmp_path: Path) -> None:
    with Repository.open(home) as repository:
        removed = [version.name for version in repository.log("encoder", removed=True) if version.removed]
        for name in removed:
            repository.restore(name)
        for name, wanted in EXPECTED["files"].items():
            target = tmp_path / "out" / name.replace(":", "-")
            repository.pull(name, target)
            assert facts(target) == wanted, name
    assert removed == ["encoder:v4"]


def test_verify_finds_nothing(home: Path) -> None:
    done = run_mlver("verify", "--json", folder=home)
    found = json.loads(done.out)
    assert (done.code, found["ok"], found["damaged"]) == (0, True, [])
    assert found["checked_versions"] == len(EXPECTED["files"])


@pytest.mark.parametrize(
    "command",
    [
        *("log --all", "show encoder", "ls encoder", "cat encoder:config.json", "verify", "du", "alias", "reflog"),
        *("status corpus", "tag encoder", "note encoder", "meta encoder", "ls"),
    ],
)
def test_looking_changes_nothing(home: Path, command: str) -> None:
    make_layout_1.write(home / "corpus", make_layout_1.corpus())
    before = stored(home)
    assert run_mlver(*command.split(), folder=home).code == 0
    assert stored(home) == before


def test_pull_notes_where_it_wrote_and_changes_nothing_else(home: Path) -> None:
    before = stored(home)
    assert run_mlver("pull", "corpus", "-o", "out", folder=home).code == 0
    after = stored(home)
    assert all(name.startswith("origins/") for name in after.keys() - before.keys())
    assert before.items() <= after.items()


def test_adding_the_same_content_finds_the_old_version(home: Path) -> None:
    """Cuts, digests and the canonical form are the same today, or nothing old would be recognised any more."""
    make_layout_1.write(home / "again", make_layout_1.corpus())
    with Repository.open(home) as repository:
        added = repository.add(home / "again", name="corpus")
        assert (added.created, added.version.name, added.new_bytes) == (False, "corpus:v0", 0)


def test_values_that_are_no_tensors_are_weights_too(home: Path) -> None:
    """Equal tensors beside different pickled arrays are not called identical weights."""
    with Repository.open(home) as repository:
        for value in b"\x01\x02":
            pickled = make_layout_1.npy("|O", (1,), b"\x80\x02K" + bytes([value, 0x2E]))
            numbers = make_layout_1.npy("<i4", (1,), bytes(4))
            make_layout_1.write(home / "mixed", {"m.npz": make_layout_1.npz(a=numbers, o=pickled)})
            added = repository.add(home / "mixed", name="mixed", type="model")
            assert (added.created, added.weights_identical_to, added.version.tensor_count) == (True, None, 1)


def test_adding_goes_on_where_the_log_ended(home: Path) -> None:
    make_layout_1.write(home / "next", make_layout_1.encoder(9))
    with Repository.open(home) as repository:
        highest = max(version.number for version in repository.log("encoder", removed=True))
        added = repository.add(home / "next", name="encoder")
        assert (added.created, added.version.number) == (True, highest + 1)
        assert added.new_bytes < added.version.logical_bytes / 2
        repository.pull("encoder:latest", home / "out")
    assert facts(home / "out") == facts(home / "next")


@pytest.mark.parametrize("name", ["packs/*.pack", "manifests/*.zst", "log/draft/*.json", "names/*.json"])
@pytest.mark.parametrize("change", ["longer", "shorter", "flipped", "gone"])
def test_damage_is_found(home: Path, name: str, change: str) -> None:
    path = sorted((home / ".mlver").glob(name))[0]
    path.chmod(0o644)
    raw = path.read_bytes()
    middle = len(raw) // 2
    flipped = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
    path.write_bytes({"longer": raw + b"\0", "shorter": raw[:-1], "flipped": flipped, "gone": b""}[change])
    if change == "gone":
        path.unlink()
    with Repository.open(home) as repository:
        found = repository.verify()
    assert not found.ok


@pytest.mark.parametrize("change", ["longer", "shorter", "gone"])
def test_a_segment_is_only_a_copy(home: Path, change: str) -> None:
    path = next((home / ".mlver").rglob("*.segment"))
    path.chmod(0o644)
    raw = path.read_bytes()
    path.write_bytes(raw + b"\0" if change == "longer" else raw[:-1])
    if change == "gone":
        path.unlink()
    test_log_is_what_it_was(home)


@pytest.mark.parametrize("text", [b"mlver 2\n", b"mlver 1", b"", b"mlver 1\nmore"])
def test_another_layout_is_refused_and_left_alone(home: Path, text: bytes) -> None:
    format_file = home / ".mlver" / "format"
    format_file.chmod(0o644)
    format_file.write_bytes(text)
    before = stored(home)
    with pytest.raises(NotARepositoryError):
        Repository.open(home)
    assert stored(home) == before
    assert not (home / ".mlver" / "index.sqlite").exists()


def test_repository_is_small_and_has_no_caches() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(os.path.getsize(path) for path in files) < 300_000
    assert not [path.name for path in files if path.name.startswith("index.sqlite")]
    assert {path.name for path in (FOLDER / STORED_AS / "log").iterdir()} == {"draft", "corpus", "moves"}
    assert list(FOLDER.rglob("*.segment"))
