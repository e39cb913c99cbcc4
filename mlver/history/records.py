"""What the index answers: artifacts, versions and log entries as plain immutable values.

Named tuples rather than dataclasses: they are made for every command, and dataclasses take longer to define.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mlver.ids import BlobId, ManifestId, RunId

RUNS_KEY = -1


class ArtifactRecord(NamedTuple):
    """A named line of versions.

    Attributes:
        key: Row in the index; means nothing outside this process.
        name: Present name.
        folder: Name of its log's folder, which is its first name.
        type: Such as `model`.
        latest: Number of the newest version that is not removed, if any.
        version_count: Versions that are not removed.
    """

    key: int
    name: str
    folder: str
    type: str
    latest: int | None
    version_count: int


RUNS = ArtifactRecord(RUNS_KEY, "runs", "", "", None, 0)
"""Stands for the log of runs wherever a log is meant; it is no artifact, and never listed as one."""


class VersionRecord(NamedTuple):
    """One version with everything its artifact's log says of it. Sizes are bytes.

    `logical_bytes` and `file_count` are of files that are stored; what stays where it is has figures of its own.
    """

    artifact: str
    type: str
    number: int
    id: ManifestId
    created_at: str
    created_by: str
    message: str | None
    note: str | None
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    logical_bytes: int
    new_bytes: int
    stored_bytes: int
    file_count: int
    tensor_count: int
    weights: str | None
    removed: bool
    reference_count: int = 0
    reference_bytes: int = 0

    @property
    def name(self) -> str:
        """The full revision, such as `resnet50_attn:v3`."""
        return f"{self.artifact}:v{self.number}"


class LinkedVersion(NamedTuple):
    """A version that a run, or another version, used or made.

    Attributes:
        artifact: Present name of its artifact; what the event says where that is not known here.
        number: Its number now.
        id: Its manifest.
        role: What it was used as, if that was said.
        is_known: Whether this repository has it in a log.
    """

    artifact: str
    number: int
    id: ManifestId
    role: str | None = None
    is_known: bool = True

    @property
    def name(self) -> str:
        """The full revision, such as `resnet50_attn:v3`."""
        return f"{self.artifact}:v{self.number}"


class MetricSummary(NamedTuple):
    """What became of one metric of a run.

    Attributes:
        last: The newest value that is a number; None where none was.
        min: The lowest.
        max: The highest.
        value_count: How many values there were.
        nan_count: How many of them were no number.
    """

    last: float | None
    min: float | None
    max: float | None
    value_count: int
    nan_count: int = 0


class RunRecord(NamedTuple):
    """One run with everything the logs say of it.

    Attributes:
        id: Its id.
        name: What somebody called it; several runs may have one name.
        job_type: Such as `train`.
        status: `running`, `finished`, `failed`, `killed` or `lost`.
        started_at: ISO 8601 in UTC.
        started_by: Who started it.
        exit_code: Of its command, 128 and more for signals; None where it has none.
        duration_seconds: How long it took; None until it is over.
        config: Its settings.
        metrics: Its metrics.
        record: Blob with its circumstances, see `docs/format.md`.
        series: Blob with all values of its metrics.
        output: Blob with the end of what its command wrote.
        inputs: Versions that it used.
        outputs: Versions that it made, removed ones too, and those that it made again.
        code: `commit`, `branch`, `remote`, `dirty` and `patch`, as far as they are known.
    """

    id: RunId
    name: str | None
    job_type: str | None
    status: str
    started_at: str
    started_by: str
    exit_code: int | None
    duration_seconds: float | None
    config: dict[str, Any]
    metrics: dict[str, MetricSummary]
    record: BlobId | None
    series: BlobId | None
    output: BlobId | None
    inputs: tuple[LinkedVersion, ...]
    outputs: tuple[LinkedVersion, ...]
    code: dict[str, Any]

    @property
    def title(self) -> str:
        """Its name, else the first 8 digits of its id."""
        return self.name or self.id[:8]


class VersionNode(NamedTuple):
    """A version in the graph; of one that is not known here, `type` and `created_at` are empty."""

    artifact: str
    type: str
    number: int
    id: ManifestId
    created_at: str
    removed: bool


class RunNode(NamedTuple):
    """A run in the graph."""

    id: RunId
    name: str | None
    job_type: str | None
    status: str
    started_at: str


VersionKey = tuple[str, int]
"""Present name of an artifact, and a version's number."""


class Graph(NamedTuple):
    """All versions and runs, and which followed from which.

    Circles cannot be made, but two machines that knew nothing of each other can have made one: expect them.

    Attributes:
        versions: All versions, and what is not known here but was used.
        runs: All runs.
        used: A version, and a run that used it.
        made: A run, and a version that it made, or made again.
        derived: A version, and one that was added as following from it, without a run.
    """

    versions: dict[VersionKey, VersionNode]
    runs: dict[RunId, RunNode]
    used: list[tuple[VersionKey, RunId]]
    made: list[tuple[RunId, VersionKey]]
    derived: list[tuple[VersionKey, VersionKey]]
