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

Look = dict[str, Any]


def write_model(folder: Path, seed: int, *, steps: float = 0.0) -> Path:
    """Write a small model: weights that differ from another one of this seed by steps, and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(seed).normal(size=4000).astype("float32")
    weights += np.float32(steps) * np.random.default_rng(seed + 1).normal(size=4000).astype("float32")
    np.save(folder / "weights.npy", weights)
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


def _removed(world: Path) -> None:
    """Four versions, of which one with noise of its own is removed, and packs of which a part is dead."""
    _versions(world)
    with Repository.open(world / "repo") as repository:
        repository.add(write_model(world / "repo" / "model", 7))
        repository.add(write_model(world / "repo" / "model", 1, steps=2e-4))
        repository.remove("net:v2")


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
    """

    name: str
    prepare: Callable[[Path], None]
    argv: tuple[str, ...]
    again: tuple[int, ...] = (0,)
    damaged_before: bool = False


COMMANDS = (
    Command("init", _empty, ("init",)),
    Command("add", _versions, ("add", "model", "--alias", "best", "--tag", "new")),
    Command("add-first", _new, ("add", "model", "--name", "net", "--type", "t")),
    Command("alias", _versions, ("alias", "best", "v1")),
    Command("meta", _versions, ("meta", "v1", "--metric", "loss=0.25")),
    Command("rename", _versions, ("rename", "net", "other"), again=(0, 2, 10)),
    Command("rm", _versions, ("rm", "v1"), again=(0, 1)),
    Command("undo", _versions, ("undo",)),
    Command("push", _shared, ("push",)),
    Command("fetch", _behind, ("fetch",)),
    Command("pull", _fetched, ("pull", "net:v1", "-o", "out")),
    Command("gc", _removed, ("gc", "--grace", "0")),
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
    for name in ("repo", "remote"):
        place = world / name
        root = place / ".mlver" if name == "repo" else place
        if (root / "format").exists():
            seen[name] = _look_into(world / "repo", name, sound=sound)
    out = world / "repo" / "out"
    if out.exists():
        seen["out"] = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    return seen


def _look_into(folder: Path, name: str, *, sound: bool) -> Look:
    with Repository.open(folder) as repository:
        if name == "remote":
            found = repository.verify_remote()
            assert found.ok or not sound, found.damaged
            return {}
        if sound:
            missing = partial(_is_only_missing_here, bool(repository.remotes()))
            found = repository.verify()
            assert not [damage for damage in found.damaged if not missing(damage)], found.damaged
        seen: Look = {}
        for artifact in repository.artifacts():
            versions = repository.log(artifact.name, removed=True)
            seen[artifact.name] = {
                version.number: (version.id, version.removed, version.aliases, version.tags, dict(version.metrics))
                for version in versions
            }
            for version in versions:
                for alias in version.aliases:
                    assert repository.resolve(f"{artifact.name}:{alias}").number == version.number
        repository._opened.index.refresh()
        seen["runs"] = [run.status for run in repository._opened.runs.runs()]
        return seen


def _is_only_missing_here(has_remote: bool, damage: Any) -> bool:
    """Tell whether this is no damage: what was fetched and not pulled is at the remote."""
    return has_remote and "remote" in damage.reason
