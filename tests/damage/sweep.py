"""Every byte of a small repository, flipped, and every file of it cut at every length: noticed, or without effect.

`python -m tests.damage.sweep` tries them all and prints a table of what it tried; `--every 50` tries one in fifty,
`--of varied` those of one repository.
After each damage a repository without a cache is asked for all that it knows: each answer is the right one or an error
that is declared. Where no content is missing, `verify` is asked too, and tells of damage if any answer is an error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mlver.chunks import ChunkReader
from mlver.errors import MlverError
from mlver.history import event
from mlver.history.manifest import read_manifest
from mlver.history.revision import resolve
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.retention.settings import read_policies
from mlver.ops.runs.blobs import read_blob
from mlver.ops.version_files import iterate
from mlver.repository import Repository
from mlver.store.local import LocalStorage
from tests.golden import make_runs
from tests.support.keys import make_key
from tests.support.places import quick_folder
from tests.support.weight_files import entry, safetensors_file

CACHES = ("index.sqlite", "index.sqlite-journal", "collected")
WRITTEN_BY_PEOPLE = ("config.toml",)
"""A changed letter makes other settings, and nobody can tell that they were not meant."""
HINTS = ("HEAD", "origins")
"""Which artifact a bare `v3` is of, and what the next `add` of a folder is called: no answer to a full name changes."""
ELEMENTS = 2_000
SHARES_PER_JOB = 16
VERSIONS = {"net": 4, "inat": 2, "iv3": 2, "paper": 1}
"""How many versions each artifact has."""


def build(home: Path) -> None:
    """Make a repository with runs, differences, signatures, labels, a removed version, retention and a segment."""
    with chdir(home):  # elsewhere the code beside would be recorded, and be another one each time
        _build(home)


def _build(home: Path) -> None:
    make_runs.build(home)
    make_key(home, "ada")
    random = np.random.default_rng(7)
    weights = random.normal(0, 0.02, ELEMENTS).astype("<f4")
    with Repository.open(home) as repository:
        for number in range(4):
            weights = weights + random.normal(0, 1e-6, ELEMENTS).astype("<f4")
            header = {"w": entry("F32", [ELEMENTS], 0, 4 * ELEMENTS)}
            folder = home / "net"
            (folder / "sub").mkdir(parents=True, exist_ok=True)
            (folder / "sub/model.safetensors").write_bytes(safetensors_file(header, weights.tobytes()))
            (folder / "noise").write_bytes(random.bytes(4_000))
            repository.add(folder, name="net", type="model", metrics={"acc": number / 8}, message="so far")
        repository.sign("net:v1", home / "ada.pem")
        repository.tag("net:v0", "kept")
        repository.note("net:v2", "a note")
        repository.remove("net:v2")
        repository.retain({"last": 3}, artifact="net")
        repository.rename("report", "paper")


def build_long(home: Path) -> None:
    """Make a repository whose log is so long that it is read from a segment."""
    (home / "w").write_bytes(b"weights")
    with chdir(home), Repository.init(home) as repository:
        repository.add(home / "w", name="net", type="model")
        for number in range(260):
            repository.note("net:v0", f"note {number}")


REPOSITORIES = {"varied": build, "long": build_long}


Answers = dict[str, object]


def answers(home: Path, asked: Callable[[str], bool] = lambda _: True) -> Answers:
    """Ask a repository without a cache for all that it knows; an answer may be an error that is declared.

    Args:
        home: Where it is.
        asked: Which questions to ask, by name.

    Raises:
        Exception: Anything else that was raised is a bug.
    """
    found: Answers = {}

    def ask(name: str, question: Callable[[], object]) -> None:
        if not asked(name):
            return
        try:
            found[name] = question()
        except MlverError as error:
            found[name] = error

    try:
        opened = open_repository(home / ".mlver", cache_in_memory=True)
    except MlverError as error:
        return {"open": error}
    with Repository(opened) as repository:
        ask("packs", opened.refresh_packs)
        for name, versions in VERSIONS.items():
            ask(f"log {name}", partial(_log, opened, name))
            for number in range(versions):
                ask(f"{name}:v{number}", partial(_files, opened, f"{name}:v{number}"))
        ask("runs", partial(_runs, opened))
        ask("signature", partial(_is_signed, repository, home / "ada.pub"))
        ask("policies", partial(read_policies, opened))
        ask("verify", lambda: repository.verify(references="skip").ok or MlverError("damaged"))
    return found


def _log(opened: OpenRepository, name: str) -> str:
    artifact = opened.artifact(name)
    return repr([opened.index.versions(artifact, removed=True), opened.index.events(artifact)])


def _files(opened: OpenRepository, revision: str) -> dict[str, bytes]:
    version = resolve(opened.index, revision, None).version
    manifest = read_manifest(opened.storage, version.id)
    reader = ChunkReader(opened.storage, opened.chunk_index)
    return {file.path: b"".join(iterate(reader, file)) for file in manifest.files}


def _is_signed(repository: Repository, key: Path) -> bool:
    (check,) = repository.verify_signatures("net:v1", [key])
    if not check.ok:
        raise MlverError(check.reason)
    return True


def _runs(opened: OpenRepository) -> str:
    opened.index.refresh()
    runs = opened.runs.runs()
    blobs = [blob for run in runs for blob in (run.record, run.series, run.output) if blob is not None]
    return repr([runs, [read_blob(opened, blob) for blob in blobs]])


@contextmanager
def events_decoded_once() -> Iterator[None]:
    """Keep what an event's bytes say, which depends on nothing else and took most of the time; errors are not kept.

    The files are still read each time, and so is what holds them together.
    """
    with patch.object(event, "decode_event", cache(event.decode_event)):
        yield


@contextmanager
def blobs_looked_at() -> Iterator[set[str]]:
    """Give the names of all blobs that are read, or whose size or presence is asked for, from now on."""
    names: set[str] = set()
    read, status = LocalStorage.read, LocalStorage._status_of_any

    def noted_read(storage: LocalStorage, name: str, start: int = 0, length: int | None = None) -> bytes:
        names.add(name)
        return read(storage, name, start, length)

    def noted_status(storage: LocalStorage, name: str) -> os.stat_result | None:
        names.add(name)
        return status(storage, name)

    with patch.multiple(LocalStorage, read=noted_read, _status_of_any=noted_status):
        yield names


# What is tried


@dataclass(frozen=True)
class Damage:
    """One change of one file.

    Attributes:
        name: The file, from `.mlver` on.
        offset: Which byte is inverted; with `is_cut`, how many bytes stay.
        is_cut: Whether the file is cut short.
    """

    name: str
    offset: int
    is_cut: bool

    def apply(self, good: bytes) -> bytes:
        """Return the damaged content."""
        if self.is_cut:
            return good[: self.offset]
        return good[: self.offset] + bytes([good[self.offset] ^ 0x41]) + good[self.offset + 1 :]


def damages(root: Path) -> Iterator[Damage]:
    """Yield every damage to every file that is the truth about something."""
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and name.partition("/")[0] not in (*CACHES, *WRITTEN_BY_PEOPLE, *HINTS):
            for offset in range(file.stat().st_size):
                yield from (Damage(name, offset, False), Damage(name, offset, True))


@dataclass
class Tally:
    """What came of it, by folder: how many cases, and in how many of them the damage was noticed."""

    cases: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another process tried, too."""
        self.cases += other.cases
        self.noticed += other.noticed
        self.problems += other.problems


class Sweep:
    """A repository and what it says while it is sound.

    Args:
        home: Where it is.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._root = home / ".mlver"
        self._forget()
        with blobs_looked_at() as self._looked_at:
            """All but what only `verify` reads: a damage of that changes no other answer, so only `verify` is asked."""
            self._right = answers(home, lambda name: name != "verify")
        self._right |= answers(home, lambda name: name == "verify")
        self._expected_errors = {name for name, answer in self._right.items() if isinstance(answer, MlverError)}
        self._opened = open_repository(self._root, cache_in_memory=True)
        """Has read the logs while they were sound: where something else is damaged, that saves reading them again."""
        self._opened.index.refresh()

    def _forget(self) -> None:
        """Throw caches away: they remember what was sound."""
        for name in CACHES:
            with suppress(FileNotFoundError):
                (self._root / name).unlink()

    def run(self, chosen: Iterator[Damage]) -> Tally:
        """Try some damages, one after the other."""
        tally = Tally()
        for damage in chosen:
            place = self._root / damage.name
            kind = damage.name.partition("/")[0]
            good = place.read_bytes()
            _put(place, damage.apply(good))
            try:
                is_noticed = not damage.name.partition("log/")[1] and self._is_noticed_at_once(kind)
                problem = ""
                if not is_noticed:
                    problem, is_noticed = self._look(damage.name in self._looked_at)
            finally:
                _put(place, good)
                self._forget()
            tally.cases[kind] += 1
            tally.noticed[kind] += is_noticed
            if problem:
                tally.problems.append(f"{damage}: {problem}")
        return tally

    def _is_noticed_at_once(self, kind: str) -> bool:
        """Tell whether content cannot be read any more, what can being right; False if only a closer look can tell."""
        if kind not in ("packs", "manifests", "runs"):
            return False
        with self._opened.cache.transaction():
            self._opened.cache.execute("DELETE FROM packs")
            self._opened.cache.execute("DELETE FROM chunks")
        versions = [name for name in self._right if ":v" in name]
        questions: dict[str, Callable[[], object]]
        questions = {name: partial(_files, self._opened, name) for name in versions}
        if kind == "runs":
            questions = {"runs": partial(_runs, self._opened)}
        else:
            self._opened.refresh_packs()
        is_noticed = False
        for name, question in questions.items():
            try:
                if question() != self._right[name]:
                    return False
            except MlverError:
                is_noticed |= name not in self._expected_errors
            except Exception:  # noqa: BLE001 - the closer look will tell of it
                return False
        return is_noticed

    def _look(self, ask_all: bool) -> tuple[str, bool]:
        """Return what is wrong with what the damaged repository says, and whether it noticed."""
        try:
            said = answers(self._home, lambda name: ask_all or name == "verify")
        except Exception as error:  # noqa: BLE001 - that is what must not happen
            return f"{type(error).__name__}: {error}", False
        if "open" in said:
            return "", True
        is_noticed = isinstance(said["verify"], MlverError)
        for name, answer in said.items():
            if name in self._expected_errors or name == "verify":
                continue
            if isinstance(answer, MlverError):
                if not is_noticed:
                    return f"{name} fails ({answer}), and verify found nothing", is_noticed
            elif answer != self._right[name]:
                return f"{name} is {answer!r:.500}, not {self._right[name]!r:.500}", is_noticed
        return "", is_noticed


def _put(place: Path, content: bytes) -> None:
    place.chmod(0o600)
    place.write_bytes(content)


def sweep(make: Callable[[Path], None], every: int, share: int = 0, shares: int = 1) -> tuple[Tally, int, int]:
    """Make a repository and try one damage of `every`, and of those the `share`-th of so many shares.

    Returns:
        What came of it, how many files were damaged, and how many bytes they have.
    """
    with quick_folder() as home:
        make(home)
        root = home / ".mlver"
        names = {damage.name for damage in damages(root)}
        size_bytes = sum((root / name).stat().st_size for name in names)
        with events_decoded_once():
            tally = Sweep(home).run(islice(damages(root), share * every, None, every * shares))
        return tally, len(names), size_bytes


def main() -> int:
    """Try them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try one damage in N (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes (default: all cores)")
    parser.add_argument("--of", choices=REPOSITORIES, nargs="*", default=[*REPOSITORIES], help="which (default: both)")
    wanted = parser.parse_args()
    is_bad = False
    with ProcessPoolExecutor(wanted.jobs) as pool:
        for make in map(REPOSITORIES.__getitem__, wanted.of):
            count = wanted.jobs * SHARES_PER_JOB
            shares = [pool.submit(sweep, make, wanted.every, share, count) for share in range(count)]
            whole, files, size_bytes = Tally(), 0, 0
            for done, share in enumerate(shares, 1):
                tally, files, size_bytes = share.result()
                whole.add(tally)
                told = f"{whole.cases.total()} cases, {len(whole.problems)} problems"
                print(f"{done} of {count}: {told}", file=sys.stderr, flush=True)
            print(f"{make.__name__}: {files} files, {size_bytes} bytes, {whole.cases.total()} cases")
            for kind, cases in sorted(whole.cases.items()):
                print(f"  {kind:<10} {cases:>8} cases, {whole.noticed[kind]:>8} noticed")
            for problem in whole.problems[:20]:
                print(f"  PROBLEM {problem}")
            is_bad |= bool(whole.problems)
    return is_bad


if __name__ == "__main__":
    sys.exit(main())
