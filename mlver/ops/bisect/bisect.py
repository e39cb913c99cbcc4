"""`bisect`: versions between a good and a bad one → each judged by a program → the first bad one."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mlver.errors import ConflictError, MlverError, UsageError
from mlver.history.records import VersionRecord
from mlver.ops.bisect.search import Search, Verdict
from mlver.ops.opening import OpenRepository
from mlver.ops.origins import forget_origin
from mlver.ops.progress import Progress, Silent
from mlver.ops.pull_whole import pull_whole
from mlver.store.failures import storage_error

SKIP_CODE = 125
_LAST_BAD_CODE = 124
Judge = Callable[[VersionRecord, Path | None], int]
"""Says an exit code of a version, and of the folder that it was pulled into."""


@dataclass(frozen=True, slots=True)
class Step:
    """One version that was judged.

    Attributes:
        version: Its name, such as `net:v7`.
        id: Its id.
        exit_code: What the program ended with.
        verdict: `good`, `bad` or `skip`.
        seconds: How long the program took.
        recorded: It was judged before, and the record told.
    """

    version: str
    id: str
    exit_code: int
    verdict: str
    seconds: float
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class BisectResult:
    """What was found.

    Attributes:
        first_bad: The version where it broke; the first of those that may be, where some could not be judged.
        last_good: The last version known to be good.
        suspects: All that may be the first bad one; one, unless some before it were skipped.
        steps: What was judged, in order.
    """

    first_bad: VersionRecord
    last_good: VersionRecord
    suspects: tuple[VersionRecord, ...]
    steps: tuple[Step, ...]

    @property
    def is_certain(self) -> bool:
        """Whether there is one first bad version, and not several that may be it."""
        return len(self.suspects) == 1


def verdict_of(exit_code: int) -> Verdict:
    """Return what an exit code says, as for `git bisect run`; 126 and 127 say that the program could not be run.

    Raises:
        MlverError: It says that the search is to end.
    """
    if exit_code == 0:
        return Verdict.GOOD
    if exit_code == SKIP_CODE:
        return Verdict.SKIP
    if 0 < exit_code <= _LAST_BAD_CODE:
        return Verdict.BAD
    raise MlverError(
        f"The program ended with exit code {exit_code}, which is no verdict.",
        "0 is good, 1 to 124 bad, 125 cannot be judged; all others end the search.",
    )


def bisect(
    repository: OpenRepository,
    good: str,
    bad: str,
    judge: Judge,
    *,
    subject: Sequence[str] = (),
    pulled: bool = True,
    record: Path | None = None,
    told: Callable[[Step, int], None] = lambda _step, _left: None,
    progress: Progress | None = None,
) -> BisectResult:
    """Find the version where it broke. Removed versions are not looked at.

    Args:
        repository: The repository.
        good: A version that is good; it is not judged.
        bad: A later version of the same artifact that is bad; it is not judged either.
        judge: Says an exit code, see `verdict_of`.
        subject: What judges, such as the command; a record of another one is refused.
        pulled: Pull each version into a folder for the judge, which is gone afterwards.
        record: A file that keeps what was said, so that a search that was interrupted goes on with it.
        told: Hears of each step, and how many are left at most.
        progress: Told of the bytes pulled.

    Raises:
        NotFoundError: There is no such version.
        UsageError: They are not of one artifact, or not in this order.
        MlverError: The judge ended the search, or a file cannot be written.
    """
    versions = _between(repository, good, bad)
    search = Search(len(versions))
    known = _Record(record, subject)
    steps: list[Step] = []
    while (position := search.following()) is not None:
        version = versions[position]
        step = known.find(version)
        if step is None:
            step = _judged(repository, version, judge, progress or Silent(), pulled=pulled)
            known.keep(step)
        steps.append(step)
        search.note(position, Verdict(step.verdict))
        told(step, search.steps_left)
    suspects = tuple(versions[position] for position in search.suspects)
    return BisectResult(suspects[0], versions[search.good], suspects, tuple(steps))


def _between(repository: OpenRepository, good: str, bad: str) -> list[VersionRecord]:
    first, last = repository.resolve(good), repository.resolve(bad)
    if first.artifact.key != last.artifact.key:
        raise UsageError(f"{first.version.name} and {last.version.name} are versions of different artifacts.")
    if first.version.number >= last.version.number:
        raise UsageError(
            f"{last.version.name} does not come after {first.version.name}.",
            "The good version comes first. To find where something got good, let the program say the opposite.",
        )
    versions = repository.index.versions(first.artifact, newest=last.version.number)
    return [version for version in reversed(versions) if version.number >= first.version.number]


def _judged(
    repository: OpenRepository, version: VersionRecord, judge: Judge, progress: Progress, *, pulled: bool
) -> Step:
    if not pulled:
        return _timed(version, judge, None)
    with tempfile.TemporaryDirectory(prefix="mlver-bisect-") as above:
        folder = Path(above) / version.artifact
        pull_whole(repository, version.name, folder, progress)
        try:
            return _timed(version, judge, folder)
        finally:
            forget_origin(repository, folder)


def _timed(version: VersionRecord, judge: Judge, folder: Path | None) -> Step:
    begun = time.monotonic()
    code = judge(version, folder)
    return Step(version.name, version.id, code, verdict_of(code).value, round(time.monotonic() - begun, 3))


class _Record:
    """Verdicts in a file, one a line after a line that says whose they are."""

    def __init__(self, path: Path | None, subject: Sequence[str]) -> None:
        self._path = path
        self._known: dict[str, Step] = {}
        if path is None:
            return
        try:
            data = path.read_bytes() if path.exists() else b""
            whole, _, cut_off = data.rpartition(b"\n")  # a search that was killed may have left half a line
            if whole:
                self._read(whole, list(subject))
            elif cut_off and not _is_beginning(cut_off):
                raise self._no_record()
            if cut_off or not whole:
                header = json.dumps({"command": list(subject)}).encode()
                path.write_bytes((whole or header) + b"\n")
        except OSError as error:
            raise storage_error(error, "write", str(path)) from error

    def find(self, version: VersionRecord) -> Step | None:
        """Return what was said of a version's content."""
        found = self._known.get(version.id)
        return None if found is None else Step(**{**asdict(found), "version": version.name, "recorded": True})

    def keep(self, step: Step) -> None:
        """Keep what was said."""
        if self._path is None:
            return
        said = {key: value for key, value in asdict(step).items() if key != "recorded"}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(said) + "\n")
        except OSError as error:
            raise storage_error(error, "write", str(self._path)) from error

    def _read(self, data: bytes, subject: list[str]) -> None:
        try:
            documents = [json.loads(line) for line in data.split(b"\n")]
            if documents[0]["command"] != subject:
                raise ConflictError(
                    f"{self._path} has the verdicts of another command.", "Name another file, or delete it."
                )
            self._known = {step.id: step for step in (Step(**document) for document in documents[1:])}
        except (ValueError, TypeError, KeyError) as error:
            raise self._no_record() from error

    def _no_record(self) -> MlverError:
        return MlverError(f"{self._path} is no record of a bisection.", "Name another file.")


def _is_beginning(data: bytes) -> bool:
    """Tell whether these bytes may be what is left of a header that was being written."""
    return data[:12] == b'{"command": '[: len(data)]
