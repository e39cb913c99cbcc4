"""Committed repositories of differences come back, through mlver and through the reader made from docs/format.md."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from mlver import Repository
from tests.golden import make_differences, make_grids, reader
from tests.golden.make_differences import FOLDER, Versions
from tests.golden.make_layout_1 import STORED_AS

FILE = "model.safetensors"
NEEDED = {
    FOLDER: {"DELTA", "LEVELS", "CAST", "factors"},
    make_grids.FOLDER: {"GRID", "depth", "escape", "offsets"},
}


def expected_of(folder: Path) -> dict[str, str]:
    return json.loads((folder / "expected.json").read_text("utf-8"))  # type: ignore[no-any-return]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("folder", NEEDED)
def test_mlver_restores_every_version(folder: Path, tmp_path: Path) -> None:
    expected = expected_of(folder)
    shutil.copytree(folder / STORED_AS, tmp_path / ".mlver")
    with Repository.open(tmp_path) as repository:
        assert repository.verify().ok
        for name in expected:
            repository.pull(name, tmp_path / name.replace(":", "-"))
    assert {name: digest(tmp_path / name.replace(":", "-") / FILE) for name in expected} == expected


@pytest.mark.parametrize("folder", NEEDED)
def test_the_reader_restores_every_version(folder: Path, tmp_path: Path) -> None:
    expected = expected_of(folder)
    repository = reader.Repository(folder / STORED_AS)
    repository.restore_all(tmp_path)
    assert {name: digest(tmp_path / name.replace(":", "/") / FILE) for name in expected} == expected
    assert NEEDED[folder] - repository.needed.keys() == set()


@pytest.mark.parametrize("bases", [1, 2])
def test_frames_rest_on_one_chunk_and_on_two(bases: int) -> None:
    packs = (FOLDER / STORED_AS / "packs").iterdir()
    assert any(len(place.bases) == bases for pack in packs for _, place in reader.pack_places(pack))


@pytest.mark.parametrize("content", [make_differences.versions(), make_grids.versions()])
def test_what_is_written_today_is_read_by_the_reader(content: Versions, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    kept = make_differences.build(home, content)
    reader.Repository(home / ".mlver").restore_all(tmp_path / "out")
    for name, raw in kept.items():
        assert (tmp_path / "out" / name.replace(":", "/") / FILE).read_bytes() == raw
