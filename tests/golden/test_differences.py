"""The committed repository of differences comes back, through mlver and through the reader made from docs/format.md."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from mlver import Repository
from tests.golden import make_differences, reader
from tests.golden.make_differences import FOLDER
from tests.golden.make_layout_1 import STORED_AS

EXPECTED: dict[str, str] = json.loads((FOLDER / "expected.json").read_text("utf-8"))
FILE = "model.safetensors"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_mlver_restores_every_version(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / STORED_AS, tmp_path / ".mlver")
    with Repository.open(tmp_path) as repository:
        assert repository.verify().ok
        for name in EXPECTED:
            repository.pull(name, tmp_path / name.replace(":", "-"))
    assert {name: digest(tmp_path / name.replace(":", "-") / FILE) for name in EXPECTED} == EXPECTED


def test_the_reader_restores_every_version(tmp_path: Path) -> None:
    repository = reader.Repository(FOLDER / STORED_AS)
    repository.restore_all(tmp_path)
    assert {name: digest(tmp_path / name.replace(":", "/") / FILE) for name in EXPECTED} == EXPECTED
    assert {"DELTA", "LEVELS", "CAST", "factors"} - repository.needed.keys() == set()


@pytest.mark.parametrize("bases", [1, 2])
def test_frames_rest_on_one_chunk_and_on_two(bases: int) -> None:
    packs = (FOLDER / STORED_AS / "packs").iterdir()
    assert any(len(place.bases) == bases for pack in packs for _, place in reader.pack_places(pack))


def test_what_is_written_today_is_read_by_the_reader(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    kept = make_differences.build(home)
    reader.Repository(home / ".mlver").restore_all(tmp_path / "out")
    for name, raw in kept.items():
        assert (tmp_path / "out" / name.replace(":", "/") / FILE).read_bytes() == raw
