"""Paths and names that would lead elsewhere: refused by one validator with the rules of all systems, never mended."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mlver.history.event import ContinueLog, CreateArtifact, MoveAlias, RenameArtifact
from mlver.ids import ManifestId
from mlver.store.pack import pack_id_of
from tests.cli.conftest import Person
from tests.support.forging import Document, Forgery
from tests.support.trees import read_tree

PATHS = [
    "../precious/file", "a/../../precious/file", "/precious", "//host/share/x", "a//b", "./a", "a/.", "a/..", "..", "",
    "C:/x", "C:x", "c:\\x", "\\\\host\\share\\x", "a\\b", "a:stream", "NUL", "nul.txt", "a/COM1", "com¹", "x.", "x ",
    "a/x./b", "new\nline", "\x00", "a\x1b[2Jb", "\x7f", "\x9b2J", "a\u202eb", "\u200f", "a*", "a?", 'a"', "<a>", "a|b",
    ".mlver/config.toml", "a/.MLVER/x", ".mlver./x", ".mlver::$DATA", "MLVER~1/x", ".ml\u200cver/x",
    "x" * 256, "é" * 128, "/".join(["d"] * 257), "%2e%2e/x/..", "..%2f/../x",
]  # fmt: skip
NAMES = [
    "../x", "..", ".", "", "/x", "a/b", "a\\b", "a:b", "C:", "con", "LPT1.x", "x.", "a b", "é", "-x", "latest", "v3",
    "V03", "\x1b[31m", "a\u202eb", "a\nb", "a\x00b", "x" * 129, ".mlver", "MLVER~1", "%2e%2e",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_a_manifest_with_such_a_path_is_refused_and_nothing_is_written(yard: Path, path: str) -> None:
    forged = Forgery(yard / "evil")
    forged.add(lambda document: document["files"][0].update(path=path))
    eve = Person(yard / "evil")
    for line in ("pull net -o out", "pull net --path *", "ls net", "show net", "cat net:w"):
        done = eve.run(*line.split())
        assert (done.code, done.out) == (12, ""), line
        assert "".join(done.err.split("\n")).isprintable()
    assert eve.run("verify").code == 12
    assert sorted(place.name for place in (yard / "evil").iterdir()) == [".mlver"]


@pytest.mark.parametrize("path", ["../precious/x", "/x", "a\\b", "nul"])
def test_neither_is_such_a_folder_or_reference(yard: Path, path: str) -> None:
    reference = {"digest": None, "etag": '"x"', "path": path, "size": 1, "uri": "s3://b/k", "version": None}
    changes: list[Document] = [{"folders": [path]}, {"references": [reference]}]
    for number, change in enumerate(changes):
        forged = Forgery(yard / f"evil{number}")
        forged.add(partial(_update, change))
        assert Person(yard / f"evil{number}").run("pull", "net", "-o", "out").code == 12


def _update(change: Document, document: Document) -> None:
    document.update(change)


@pytest.mark.parametrize("path", ["../precious/x", "/x", "C:x"])
def test_a_remote_with_such_a_path_is_refused_when_it_is_pulled(yard: Path, path: str) -> None:
    forged = Forgery(yard / "evil")
    forged.add(lambda document: document["files"][0].update(path=path))
    victim = Person(yard)
    assert victim.run("clone", str(forged.root), "mine").code == 0
    mine = Person(yard / "mine")
    assert mine.run("pull", "net").code == 12
    assert sorted(place.name for place in mine.here.iterdir()) == [".mlver"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_artifact_of_such_a_name_is_refused(yard: Path, name: str) -> None:
    """A name becomes a folder: that of its log, and of a pull without -o."""
    forged = Forgery(yard / "evil")
    forged.add()
    forged.names(RenameArtifact("net", name))
    forged.storage.put("HEAD", name.encode() + b"\n")
    eve = Person(yard / "evil")
    for line in ("ls", "log", "pull latest", "pull v0"):
        assert eve.run(*line.split()).code == 12, line
    assert sorted(place.name for place in eve.here.iterdir()) == [".mlver"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_artifact_of_such_a_name_does_not_come_from_a_remote(yard: Path, name: str) -> None:
    remote = Forgery(yard / "remote")
    remote.add()
    mine = Person(yard)
    assert mine.run("clone", str(remote.root), "mine").code == 0
    mine = Person(yard / "mine")
    remote.names(CreateArtifact(name, "model"))
    before = mine.history()
    assert mine.run("fetch").code == 12
    assert mine.history() == before
    assert mine.run("ls", "-q").out == "net\n"


def test_the_cache_of_a_strangers_repository_does_not_choose_where_a_pull_goes(yard: Path) -> None:
    import sqlite3

    forged = Forgery(yard / "evil")
    forged.add()
    eve = Person(yard / "evil")
    assert eve.run("ls").code == 0
    with closing(sqlite3.connect(forged.root / "index.sqlite")) as cache, cache:
        cache.execute("UPDATE artifacts SET name = '../../precious/x' WHERE name = 'net'")
    cache.close()
    done = eve.run("pull", "v0")
    assert done.code != 0
    assert sorted(place.name for place in eve.here.iterdir()) == [".mlver"]


@pytest.mark.parametrize("name", ["../../precious", "0" * 63 + "/", "0" * 65, "A" * 64, "0" * 64 + "\n", "é" * 64])
def test_such_a_pack_or_manifest_is_never_asked_for(yard: Path, name: str) -> None:
    """Names come from hints beside manifests and from events; only 64 hex digits become names of blobs."""
    assert pack_id_of(f"{name}.pack") is None
    remote = Forgery(yard / "remote")
    identity = remote.add()
    hint = json.dumps({"packs": [name]}).encode()
    remote.storage.put(f"manifests/{identity.removeprefix('blake3:')}.packs", hint)
    mine = Person(yard)
    assert mine.run("clone", str(remote.root), "mine").code == 0
    mine = Person(yard / "mine")
    assert mine.run("pull", "net").code == 0
    assert read_tree(mine.here / "net") == {"w": b"weights"}


@pytest.mark.parametrize("identity", ["blake3:../../precious/file", "../../x", "blake3:" + "A" * 64, "md5:x", ""])
def test_a_version_with_such_an_id_is_refused(yard: Path, identity: str) -> None:
    from mlver.history.event import AddVersion

    forged = Forgery(yard / "evil")
    forged.log(AddVersion(0, ManifestId(identity), 1, 1, 1, 1, 0))
    eve = Person(yard / "evil")
    for line in ("pull net -o out", "ls net", "show net", "cat net:w"):
        done = eve.run(*line.split())
        assert (done.code, done.out) == (12, ""), line


def test_members_of_an_archive_are_names_of_tensors_and_never_files(person: Person) -> None:
    file = io.BytesIO()
    array = io.BytesIO()
    np.save(array, np.arange(4, dtype=np.float32))
    names = ["../../evil.npy", "/abs.npy", "C:\\x.npy", "a\x1b[2J.npy"]
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, array.getvalue())
    (person.here / "w.npz").write_bytes(file.getvalue())
    before = sorted(person.here.parent.rglob("*.npy"))
    assert person.run("add", "w.npz", "--name", "zip", "--type", "t").code == 0
    for line in ("show zip", "diff zip zip", "pull zip -o out"):
        done = person.run(*line.split())
        assert done.code == 0, line
        assert done.out.replace("\n", "").isprintable()
    assert person.run("pull", "zip", "--tensor", "*", "-o", "tensors").code == 0
    assert sorted(place.name for place in (person.here / "tensors").iterdir()) == ["tensors.safetensors"]
    assert sorted(person.here.parent.rglob("*.npy")) == before
    assert read_tree(person.here / "out") == {"w.npz": file.getvalue()}


# What a log says that cannot be


def test_a_remote_cannot_end_a_log_here(yard: Path) -> None:
    """A continuation says that the log is elsewhere: taken from a remote, it would hide every version."""
    remote = Forgery(yard / "remote")
    remote.add()
    assert Person(yard).run("clone", str(remote.root), "mine").code == 0
    mine = Person(yard / "mine")
    remote.log(ContinueLog(0, "part-0123456789abcdef"))
    before = mine.history()
    assert mine.run("fetch").code == 12
    assert mine.history() == before
    assert mine.run("log", "net", "-q").out == "net:v0\n"


@pytest.mark.parametrize(
    ("folder", "action"),
    [
        ("net", MoveAlias("best", 7, None)),
        ("net", CreateArtifact("other", "model")),
        (None, RenameArtifact("absent", "other")),
        (None, MoveAlias("best", 0, None)),
    ],
    ids=repr,
)
def test_a_remote_whose_events_contradict_each_other_spoils_nothing_here(
    yard: Path, folder: str | None, action: MoveAlias | CreateArtifact | RenameArtifact
) -> None:
    remote = Forgery(yard / "remote")
    remote.add()
    assert Person(yard).run("clone", str(remote.root), "mine").code == 0
    mine = Person(yard / "mine")
    remote.log(action) if folder else remote.names(action)
    before = mine.history()
    assert mine.run("fetch").code == 12
    assert mine.history() == before
    assert mine.run("log", "net", "-q").out == "net:v0\n"
    (mine.here / "w").write_text("more")
    assert mine.run("add", "w", "--name", "net", "-q").out == "net:v1\n"


@pytest.mark.parametrize("pair", [("A", "a"), ("é", "e\u0301"), ("\u017f", "s"), ("A/x", "a/y"), ("ﬁ", "fi")])
def test_two_paths_that_some_systems_take_for_one_are_refused_before_anything_is_written(
    yard: Path, pair: tuple[str, str]
) -> None:
    forged = Forgery(yard / "evil")
    forged.add(files=dict.fromkeys(sorted(pair), b"x"))
    eve = Person(yard / "evil")
    done = eve.run("pull", "net", "-o", "out")
    assert done.code == 1
    assert "one path" in done.err
    assert not (eve.here / "out").exists()
