"""Pickles that would run something: in `.pt` files of both forms, they are read by opcodes and never executed."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import Person


class Bomb:
    """Unpickling it makes a file `pwned` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._folder}/pwned",)


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(64))
    return out.getvalue()


@pytest.mark.parametrize("form", ["zip", "legacy", "text protocol"])
def test_nothing_in_a_pickle_is_run(person: Person, form: str) -> None:
    bomb = Bomb(person.here)
    data = pickle.dumps({"w": bomb}, protocol=0 if form == "text protocol" else 2)
    (person.here / "model/evil.pt").write_bytes(zipped(data) if form == "zip" else data)
    added = person.run("add", "model", "-q")
    assert (added.code, added.out) == (0, "net:v3\n")
    for line in (
        "show v3", "show v3 --json", "diff v2 v3", "diff v2 v3 --json", "verify", "status model", "pull v3 -o out",
        "compare v2 v3", "gc --repack",
    ):  # fmt: skip
        done = person.run(*line.split())
        assert "Traceback" not in done.err, line
        assert done.code in (0, 1), (line, done.err)
    assert (person.here / "out/evil.pt").read_bytes() == (person.here / "model/evil.pt").read_bytes()
    assert not (person.here / "pwned").exists()
    if form == "zip":
        (file,) = (file for file in person.json("show", "v3")["files"] if file["path"] == "evil.pt")
        assert file["unsafe_globals"] == [f"{os.system.__module__}.system"]
        assert f"evil.pt names {os.system.__module__}.system" in person.run("show", "v3").out


def test_the_pickle_of_these_tests_would_run(tmp_path: Path) -> None:
    """Else they would prove nothing."""
    pickle.loads(pickle.dumps(Bomb(tmp_path)))
    assert (tmp_path / "pwned").exists()
