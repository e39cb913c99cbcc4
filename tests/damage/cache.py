"""Bytes of `index.sqlite`, flipped. It is a cache without checksums: `verify` finds what changed, and makes it anew.

Until then a label may be read wrongly; the bytes of a version never are, since manifests and chunks have digests.
`python -m tests.damage.cache 997` tries one byte in 997.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from mlver.errors import MlverError
from mlver.repository import Repository
from tests.damage.sweep import VERSIONS, Answers, build
from tests.support.places import quick_folder


def sweep_cache(every: int) -> tuple[Counter[str], list[str]]:
    """Flip one byte of `every` in the cache of a small repository, one after the other, and use it.

    Returns:
        How many were tried, and in how many of them a label was wrong or an error came until `verify` ran; and what
        went wrong that must not.
    """
    tally: Counter[str] = Counter()
    problems: list[str] = []
    with quick_folder() as home:
        build(home)
        index = home / ".mlver/index.sqlite"
        index.unlink()
        right = answers(home)
        good = index.read_bytes()
        for offset in range(0, len(good), every):
            with suppress(FileNotFoundError):
                index.with_name("index.sqlite-journal").unlink()
            index.write_bytes(good[:offset] + bytes([good[offset] ^ 0x41]) + good[offset + 1 :])
            tally["tried"] += 1
            try:
                problems += [f"{offset}: {problem}" for problem in _use(home, right, tally)]
            except Exception as error:  # noqa: BLE001 - that is what must not happen
                problems.append(f"{offset}: {type(error).__name__}: {error}")
    return tally, problems


def _use(home: Path, right: Answers, tally: Counter[str]) -> list[str]:
    said = answers(home)
    different = [name for name, answer in said.items() if answer != right[name]]
    failed = {name for name in different if isinstance(said[name], MlverError)}
    tally["different until verified"] += bool(different)
    problems = [f"{name} has other content" for name in different if ":v" in name and name not in failed]
    with Repository.open(home) as repository:
        if not repository.verify(references="skip").ok:
            problems.append("verify takes the store for damaged")
    healed = answers(home)
    return problems + [f"{name} is wrong after verify" for name in healed if healed[name] != right[name]]


def answers(home: Path) -> Answers:
    """Ask a repository with its cache for what it knows of versions, labels and runs."""
    found: Answers = {}
    with Repository.open(home) as repository:
        asked: dict[str, Callable[[], object]] = {name: partial(_log, repository, name) for name in VERSIONS}
        asked |= {
            f"{name}:v{number}": partial(_files, repository, f"{name}:v{number}")
            for name, versions in VERSIONS.items()
            for number in range(versions)
        }
        for name, question in asked.items():
            try:
                found[name] = question()
            except MlverError as error:
                found[name] = error if name != "net:v2" else "removed"
    return found


def _log(repository: Repository, name: str) -> str:
    return repr([repository.log(name, removed=True), repository.reflog(name)])


def _files(repository: Repository, revision: str) -> object:
    found: dict[str, bytes] = {}
    for file in repository.manifest(revision).files:
        with repository.open(revision, file.path) as stream:
            found[file.path] = stream.read()
    return found


def main() -> int:
    """Try them, and say what came of it."""
    tally, problems = sweep_cache(int(sys.argv[1]))
    print(dict(tally), *problems, sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
