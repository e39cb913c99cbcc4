"""What can happen in the log of runs, `runs/log`: a run starts, uses versions, learns settings, and ends.

Which versions a run made is said where they are, in the logs of their artifacts; only that it made again what was
there already is said here, together with what it used: so no two writers can make a circle of the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from mlver.ids import BlobId, RunId

RunEnd = Literal["finished", "failed", "killed", "lost"]
"""How a run may end: well, with an error, by a signal, or nobody knows."""
Summaries = dict[str, dict[str, Any]]
"""For each metric `last`, `min` and `max` (numbers or null), `count`, and `nan`: how many values were no number."""


@dataclass(frozen=True, slots=True)
class StartRun:
    """A run begins. `record` tells its circumstances; `blobs` are those that the record names.

    `code` is what the record says of the code, but for long lists: whoever lists runs need not read records.
    """

    do: ClassVar[str] = "start"
    run: RunId
    name: str | None
    job_type: str | None
    config: dict[str, Any]
    record: BlobId | None
    blobs: list[BlobId] = field(default_factory=list)
    code: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UseVersion:
    """A run reads a version. `artifact` is the folder of its log, `version` its number as it was then.

    Where the number is another one by now, since others were first, the manifest's id finds the version.
    """

    do: ClassVar[str] = "use"
    run: RunId
    artifact: str
    version: int
    manifest: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigureRun:
    """Some of a run's settings are these now, and its name and job type, where they are not None."""

    do: ClassVar[str] = "config"
    run: RunId
    values: dict[str, Any]
    name: str | None = None
    job_type: str | None = None


@dataclass(frozen=True, slots=True)
class FinishRun:
    """A run is over. Of several, the last one stands: a run that was taken for dead may end well after all."""

    do: ClassVar[str] = "finish"
    run: RunId
    status: RunEnd
    exit_code: int | None
    duration_seconds: float
    metrics: Summaries = field(default_factory=dict)
    series: BlobId | None = None
    output: BlobId | None = None


@dataclass(frozen=True, slots=True)
class MadeAgain:
    """A run made content that a version had already; the fields are those of `UseVersion`."""

    do: ClassVar[str] = "made"
    run: RunId
    artifact: str
    version: int
    manifest: str


RunAction = StartRun | UseVersion | ConfigureRun | FinishRun | MadeAgain


def is_run_end(value: Any) -> bool:
    """Tell whether this is how a run may end."""
    return value in get_args(RunEnd)


def are_summaries(value: Any) -> bool:
    """Tell whether this has the form of what is recorded of metrics."""
    return isinstance(value, dict) and all(map(_is_summary, value.values()))


def _is_summary(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"last", "min", "max", "count", "nan"}:
        return False
    numbers = (value["last"], value["min"], value["max"])
    counts = (value["count"], value["nan"])
    return all(number is None or type(number) in (int, float) for number in numbers) and all(
        type(count) is int and 0 <= count < 1 << 62 for count in counts
    )
