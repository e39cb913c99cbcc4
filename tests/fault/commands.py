"""The commands that are killed, failed and replayed, each with a world to happen in, and what one sees of a world.

A world is a folder with a repository `repo`, a remote beside it, and the weights and folders that the command needs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlver import Repository
from tests.support.keys import make_key

Look = dict[str, Any]
_STAGED = ".mlver-pull-"


def write_model(folder: Path, seed: int, *, steps: float = 0.0) -> Path:
    """Write a small model: weights that differ from another one of this seed by steps, and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(seed).normal(size=4000).astype("float32")
    weights += np.float32(steps) * np.random.default_rng(seed + 1).normal(size=4000).astype("float32")
    np.save(folder / "weights.npy", weights)
    (folder / "tokens").mkdir(exist_ok=True)
    (folder / "tokens" / "words.txt").write_text("a b c\n" * 40)
    (folder / "config.json").write_text(json.dumps({"seed": seed, "steps": steps}))
    return folder


def _empty(world: Path) -> None:
    (world / "repo").mkdir()


def _new(world: Path) -> None:
    with Repository.init(world / "repo"):
        write_model(world / "repo" / "model", 1)


def _versions(world: Path) -> None:
    """Two versions of `net`, the second a difference to the first, and the next one's files."""
    with Repository.init(world / "repo") as repository:
        folder = write_model(world / "repo" / "model", 1)
        repository.add(folder, name="net", type="t", aliases=["best"])
        repository.add(write_model(folder, 1, steps=1e-4), tags=["second"], metrics={"loss": 0.5})
        write_model(folder, 1, steps=2e-4)


def _placed(world: Path) -> None:
    """The two versions, and a folder that may become a remote."""
    _versions(world)
    (world / "remote").mkdir()


def _shared(world: Path) -> None:
    """The same, and a remote that has only the first of them."""
    (world / "remote").mkdir()
    with Repository.init(world / "repo") as repository:
        repository.add_remote("origin", str(world / "remote"))
        folder = write_model(world / "repo" / "model", 1)
        repository.add(folder, name="net", type="t", aliases=["best"])
        repository.push()
        repository.add(write_model(folder, 1, steps=1e-4), tags=["second"])


def _behind(world: Path) -> None:
    """A repository that does not know yet what another one pushed, and has an unpushed version of its own."""
    _shared(world)
    with Repository.clone(str(world / "remote"), world / "other") as other:
        other.add(write_model(world / "elsewhere", 5), name="net")
        other.push()
    shutil.rmtree(world / "other")


def _fetched(world: Path) -> None:
    """A clone, which knows versions and has no weights."""
    _shared(world)
    with Repository.open(world / "repo") as repository:
        repository.push()
    shutil.rmtree(world / "repo")
    Repository.clone(str(world / "remote"), world / "repo").close()


def _occupied(world: Path) -> None:
    """The two versions, and a folder that has a file of the first and one of nobody's."""
    _versions(world)
    with Repository.open(world / "repo") as repository:
        repository.pull("net:v0", world / "repo" / "out")
    shutil.rmtree(world / "repo" / "out" / "tokens")
    (world / "repo" / "out" / "mine").write_text("mine")


def _removed(world: Path) -> None:
    """Four versions, of which one with noise of its own is removed, and packs of which a part is dead."""
    _versions(world)
    with Repository.open(world / "repo") as repository:
        repository.add(write_model(world / "repo" / "model", 7))
        repository.add(write_model(world / "repo" / "model", 1, steps=2e-4))
        repository.remove("net:v2")


def _told(world: Path) -> None:
    """The two versions, and a key to sign them with."""
    _versions(world)
    make_key(world, "me")


def _gone(world: Path) -> None:
    """The two versions, of which one is removed, and a remote that has had both."""
    _shared(world)
    with Repository.open(world / "repo") as repository:
        repository.push()
        repository.remove("net:v1", force=True)
        repository.push()


def _damaged(world: Path) -> None:
    """A pushed repository with a pack in which a byte is wrong."""
    _shared(world)
    with Repository.open(world / "repo") as repository:
        repository.push()
    pack = max((world / "repo" / ".mlver" / "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)


@dataclass(frozen=True)
class Command:
    """A command and its world.

    Attributes:
        name: What to call it.
        prepare: Makes the world.
        argv: The command line, run in the world's `repo`.
        again: Exit codes that are right when it is given once more after it had happened already.
        damaged_before: The world is damaged before the command, which mends it.
        piecewise: It puts files into a folder that is there one by one, and each is the old one or the new one.
    """

    name: str
    prepare: Callable[[Path], None]
    argv: tuple[str, ...]
    again: tuple[int, ...] = (0,)
    damaged_before: bool = False
    piecewise: bool = False

    def __str__(self) -> str:
        return self.name


COMMANDS = (
    Command("init", _empty, ("init",)),
    Command("add", _versions, ("add", "model", "--alias", "best", "--tag", "new")),
    Command("add-first", _new, ("add", "model", "--name", "net", "--type", "t")),
    Command("alias", _versions, ("alias", "best", "v1")),
    Command("meta", _versions, ("meta", "v1", "--metric", "loss=0.25")),
    Command("rename", _versions, ("rename", "net", "other"), again=(0, 2, 10)),
    Command("rm", _versions, ("rm", "v1"), again=(0, 1)),
    Command("restore", _gone, ("restore", "net:v1"), again=(0, 1)),
    Command("tag", _versions, ("tag", "v1", "good")),
    Command("note", _versions, ("note", "v1", "Trained for longer.")),
    Command("switch", _versions, ("switch", "net")),
    Command("retain", _versions, ("retain", "--last", "3")),
    Command("sign", _told, ("sign", "v1", "--key", "../me.pem")),
    Command("undo", _versions, ("undo",), again=(0, 1)),
    Command("remote", _placed, ("remote", "add", "origin", "../remote"), again=(0, 1, 2, 14)),
    Command("push", _shared, ("push",)),
    Command("fetch", _behind, ("fetch",)),
    Command("pull", _fetched, ("pull", "net:v1", "-o", "out")),
    Command("pull-deep", _fetched, ("pull", "net:v1", "-o", "out/of/reach")),
    Command("pull-into", _occupied, ("pull", "net:v0", "-o", "out"), piecewise=True),
    Command("gc", _removed, ("gc", "--grace", "0")),
    Command("gc-remote", _gone, ("gc", "--remote", "--grace", "0")),
    Command("repack", _removed, ("gc", "--repack")),
    Command("repair", _damaged, ("verify", "--repair"), damaged_before=True),
    Command("run", _versions, ("run", "--uses", "v1", "--", "true")),
)


def named(name: str) -> Command:
    """Return a command by its name."""
    return next(command for command in COMMANDS if command.name == name)


def look(world: Path, *, sound: bool = True) -> Look:
    """Return what there is to see in a world, after reading and hashing all of it.

    Args:
        world: Which one.
        sound: Nothing may be damaged.

    Raises:
        AssertionError: Something is damaged, or a revision names nothing.
    """
    seen: Look = {}
    if (world / "repo" / ".mlver" / "format").exists():
        seen["repo"] = _look_here(world / "repo", sound=sound)
        if seen["repo"]["remotes"]:
            seen["remote"] = _look_there(world, sound=sound)
    out = world / "repo" / "out"
    pulled = [path for path in sorted(out.rglob("*")) if path.is_file() and _STAGED not in str(path)]
    seen["out"] = {str(path.relative_to(out)): path.read_bytes() for path in pulled}
    return seen


def _look_there(world: Path, *, sound: bool) -> Look:
    with Repository.open(world / "repo") as repository:
        found = repository.verify_remote()
    assert found.ok or not sound, found.damaged
    return {path: content.hex() for path, content in _events(world / "remote")}


def _look_here(folder: Path, *, sound: bool) -> Look:
    with Repository.open(folder) as repository:
        if sound:
            missing = partial(_is_only_missing_here, bool(repository.remotes()))
            found = repository.verify()
            assert not [damage for damage in found.damaged if not missing(damage)], found.damaged
        seen: Look = {"remotes": sorted(remote.name for remote in repository.remotes())}
        for artifact in repository.artifacts():
            versions = repository.log(artifact.name, removed=True)
            seen[artifact.name] = {version.number: _facts(version) for version in versions}
            for version in versions:
                assert version.removed or repository.resolve(f"{artifact.name}:v{version.number}").id == version.id
                for alias in version.aliases:
                    assert repository.resolve(f"{artifact.name}:{alias}").number == version.number
        repository._opened.index.refresh()
        seen["events"] = [path for path, _ in _events(repository.path)]
        seen["runs"] = [run.status for run in repository._opened.runs.runs() if run.status == "finished"]
        return seen


def _facts(version: Any) -> tuple[Any, ...]:
    return (version.id, version.removed, version.aliases, version.tags, version.note, dict(version.metrics))


def _events(root: Path) -> list[tuple[str, bytes]]:
    """Return the events of a remote; its segments only repeat them."""
    found = sorted((root / "log").glob("*/*.json"))
    return [(str(path.relative_to(root)), path.read_bytes()) for path in found]


def _is_only_missing_here(has_remote: bool, damage: Any) -> bool:
    """Tell whether this is no damage: what was fetched and not pulled is at the remote."""
    return has_remote and "remote" in damage.reason
