"""What the index answers: artifacts, versions and log entries as plain immutable values.

Named tuples rather than dataclasses: they are made for every command, and dataclasses take longer to define.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mlver.ids import ManifestId


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
