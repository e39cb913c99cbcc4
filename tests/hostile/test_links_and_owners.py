"""Links that lead elsewhere, and repositories and remotes that another user owns."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Person
from tests.support.forging import Forgery
from tests.support.process import PROJECT, environment
from tests.support.trees import read_tree

NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")


def evil(yard: Path) -> tuple[Forgery, Person]:
    forged = Forgery(yard / "evil")
    forged.add(files={"a/b/w": b"weights", "x": b"x"})
    return forged, Person(yard / "evil")


# The target of a pull


@pytest.mark.parametrize("depth", ["a", "a/b"])
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_no_parent_folder_of_what_is_pulled_may_be_a_link(yard: Path, depth: str, force: tuple[str, ...]) -> None:
    _, eve = evil(yard)
    link = eve.here / "out" / depth
    link.parent.mkdir(parents=True)
    link.symlink_to(yard.parent / "precious")
    done = eve.run("pull", "net", "-o", "out", *force)
    assert done.code == 1
    assert "never followed" in done.err


def test_a_link_to_a_file_is_replaced_itself(yard: Path) -> None:
    _, eve = evil(yard)
    (eve.here / "out").mkdir()
    (eve.here / "out/x").symlink_to(yard.parent / "precious/file")
    assert eve.run("pull", "net", "-o", "out").code == 14
    assert eve.run("pull", "net", "-o", "out", "--force").code == 0
    assert not (eve.here / "out/x").is_symlink()


def test_a_hard_link_in_the_target_is_cut_and_not_written_through(yard: Path) -> None:
    _, eve = evil(yard)
    (eve.here / "out").mkdir()
    os.link(yard.parent / "precious/file", eve.here / "out/x")
    assert eve.run("pull", "net", "-o", "out", "--force").code == 0
    assert (eve.here / "out/x").read_bytes() == b"x"


# Inside a repository or remote


@pytest.mark.parametrize("name", ["packs", "manifests", "names", "log", "log/net", "log/net/000000000000.json"])
def test_a_link_inside_a_store_is_not_followed(yard: Path, name: str) -> None:
    """What it leads to may be a device that never ends, or a file of the victim's that a push would then publish."""
    forged, eve = evil(yard)
    victim = yard.parent / "precious"
    real = yard / "real"
    shutil.move(forged.root / name, real)
    (forged.root / name).symlink_to(real)
    done = eve.run("pull", "net", "-o", "out")
    assert (done.code != 0, done.out, (eve.here / "out").exists()) == (True, "", False)
    assert "Traceback" not in done.err
    cloned = Person(yard).run("clone", str(forged.root), "mine")
    if cloned.code == 0:
        assert Person(yard / "mine").run("pull", "net").code != 0
    assert read_tree(victim) == {"file": b"precious"}


@pytest.mark.parametrize("name", ["incoming", "remotes", "references"])
def test_a_folder_of_the_repositorys_own_is_no_link(yard: Path, name: str) -> None:
    remote = Forgery(yard / "remote")
    remote.add()
    assert Person(yard).run("clone", str(remote.root), "mine").code == 0
    mine = Person(yard / "mine")
    shutil.rmtree(mine.here / ".mlver" / name, ignore_errors=True)
    (mine.here / ".mlver" / name).symlink_to(yard.parent / "precious")
    (mine.here / "w").write_text("w")
    for line in ("fetch", "pull net", f"add --ref file://{mine.here}/w --name r --type t", "gc --grace 0", "push"):
        done = mine.run(*line.split())
        assert "Traceback" not in done.err
    assert mine.run({"incoming": "pull", "remotes": "fetch", "references": "pull"}[name], "net").code != 70


def test_a_cache_that_is_a_link_leaves_the_database_behind_it_alone(yard: Path) -> None:
    """Tables of other programs look like tables of another version of mlver, which are dropped."""
    forged, eve = evil(yard)
    database = yard / "theirs.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    (forged.root / "index.sqlite").symlink_to(database)
    assert eve.run("log", "net", "-q").out == "net:v0\n"
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]
    connection.close()
    database.unlink()


@pytest.mark.parametrize("name", ["packs/" + "0" * 64 + ".pack", "HEAD", "config.toml"])
def test_a_pipe_in_a_store_is_not_waited_for(yard: Path, name: str) -> None:
    forged, eve = evil(yard)
    (forged.root / name).unlink(missing_ok=True)
    os.mkfifo(forged.root / name)
    for line in ("log", "verify", "pull net -o out"):
        done = eve.run(*line.split())
        assert "Traceback" not in done.err


# Owned by somebody else


@only_root
def test_a_remote_of_another_user_is_copied_from_and_never_linked_to(yard: Path) -> None:
    """A link would let its owner change what was checked; and root's files must not become somebody else's."""
    forged, _ = evil(yard)
    for path in (forged.root, *forged.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert Person(yard).run("clone", str(forged.root), "mine").code == 0
    mine = Person(yard / "mine")
    assert mine.run("pull", "net").code == 0
    assert mine.run("push").code == 0
    theirs = {os.lstat(path).st_ino for path in forged.root.rglob("*") if path.is_file()}
    ours = [path for path in (yard / "mine").rglob("*") if path.is_file()]
    assert ours
    for path in ours:
        status = os.lstat(path)
        assert status.st_ino not in theirs
        assert (status.st_uid, status.st_nlink, stat.S_ISLNK(status.st_mode)) == (0, 1, False)
    (pack,) = (forged.root / "packs").glob("*.pack")
    pack.chmod(0o600)
    pack.write_bytes(b"changed afterwards")
    assert mine.run("verify", "net").code == 0


@only_root
def test_another_user_can_read_a_repository_and_change_nothing(yard: Path) -> None:
    forged, _ = evil(yard)
    for folder in (yard.parent, yard, yard / "evil"):
        folder.chmod(0o755)
    for name in ("warm", "theirs"):
        shutil.copytree(yard / "evil", yard / name / "copy")
    os.chown(yard / "theirs", NOBODY, NOBODY)
    before = {path: path.stat().st_mtime_ns for path in forged.root.rglob("*")}
    # Run as root first, on a copy: the modules themselves may be where nobody else may read.
    script = "\n".join(
        (
            "import difflib, getpass, logging, os, socket, sys, tomllib, traceback",
            f"sys.path.insert(0, {str(PROJECT)!r})",
            "from mlver.cli import main",
            "os.chdir('warm')",
            "os.environ['MLVER_DIR'] = os.path.abspath('copy/.mlver')",
            "main.run(sys.argv[1:])",
            "os.chdir('../theirs')",
            "os.environ['MLVER_DIR'] = os.path.abspath('../evil/.mlver')",
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})",
            "sys.exit(main.run(sys.argv[1:]))",
        )
    )
    for line, code in (("pull net -o out", 0), ("alias best net:v0", 1), ("rm net:v0", 1)):
        done = subprocess.run(
            [sys.executable, "-c", script, *line.split()],
            cwd=yard,
            env=environment(HOME=str(yard / "theirs")),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (line, done)
    assert read_tree(yard / "theirs/out") == {"a/b/w": b"weights", "x": b"x"}
    assert {path: path.stat().st_mtime_ns for path in forged.root.rglob("*")} == before


@only_root
@pytest.mark.parametrize("distrust", ["owner", "mode"])
def test_what_a_repository_of_another_user_brings_along_is_never_run(yard: Path, distrust: str) -> None:
    """No hook, no pager, no module that lies in its folder: they belong to whoever made it."""
    forged, eve = evil(yard)
    marker = yard / "executed"
    script = yard / "evil/run-me"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    (forged.root / "hooks").mkdir()
    for name in ("pre-add", "post-add", "pre-alias", "post-alias", "post-pull", "pre-gc", "pre-push"):
        shutil.copy(script, forged.root / "hooks" / name)
        (forged.root / "hooks" / name).chmod(0o755 if distrust == "owner" else 0o777)
        if distrust == "owner":
            os.chown(forged.root / "hooks" / name, NOBODY, NOBODY)
    (forged.root / "config.toml").write_text(f'[core]\npager = "{script}"\n[identity]\nname = "eve"\n')
    for name in ("sitecustomize.py", "zstandard.py"):
        (eve.here / name).write_text(f"open({str(marker)!r}, 'w')\n")
    (eve.here / "w").write_text("w")
    for line in ("log", "add w --name net", "alias best", "pull net:v0 -o out", "gc"):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mlver", *line.split()],
            cwd=eve.here,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
    assert not marker.exists()


def test_hooks_do_not_come_with_what_is_fetched(yard: Path) -> None:
    forged, _ = evil(yard)
    (forged.root / "hooks").mkdir()
    (forged.root / "hooks/post-pull").write_text("#!/bin/sh\ntouch executed\n")
    (forged.root / "hooks/post-pull").chmod(0o755)
    assert Person(yard).run("clone", str(forged.root), "mine").code == 0
    mine = Person(yard / "mine")
    assert mine.run("pull", "net").code == 0
    assert not (mine.here / ".mlver/hooks").exists()
    assert list(yard.rglob("executed")) == []
