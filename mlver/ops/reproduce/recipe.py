"""What was recorded of how a version was made, from its run or from its own event.

Records come from others too: whatever has another form than expected counts as not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mlver.errors import NotFoundError
from mlver.history.records import LinkedVersion, RunRecord, VersionRecord
from mlver.ids import BlobId
from mlver.ops.opening import OpenRepository
from mlver.ops.runs.blobs import read_record
from mlver.ops.runs.find import find_run

_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE_VERSION = re.compile(r"[A-Za-z0-9.+!_-]+")
_LINE = re.compile(r"[^\x00-\x1f\x7f]*")
_BLOB = re.compile("blake3-blob:[0-9a-f]{64}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a version was made.

    Attributes:
        version: The version; None if a run was asked for.
        run: The run that made it, if one did.
        command: What ran, in words; empty if that is not known.
        folder: Where it ran: of the machine it ran on.
        code_root: The folder of the git repository, of that machine.
        commit: Of the code.
        branch: That it was on.
        remote: Where that repository is, without credentials.
        dirty: Something was changed since the commit.
        patch: The blob that says what.
        untracked: Files that git did not know, which were not recorded.
        left_out: Files that were changed since the commit, and are not in the patch.
        inputs: Versions that it used.
        places: Folders that they were in, of that machine, by their ids, as far as is known.
        python: Its version.
        packages: Versions of packages by name.
        environment: The variables that were recorded.
        config: The run's settings.
    """

    version: VersionRecord | None
    run: RunRecord | None
    command: tuple[str, ...] = ()
    folder: str | None = None
    code_root: str | None = None
    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    dirty: bool = False
    patch: BlobId | None = None
    untracked: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    inputs: tuple[LinkedVersion, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What is made again."""
        return self.version.name if self.version else f"run {self.run.title}" if self.run else ""


def find_recipe(repository: OpenRepository, text: str) -> Recipe:
    """Return how a version was made, or what a run did.

    Args:
        repository: The repository.
        text: A revision, or a run's id or name.

    Raises:
        NotFoundError: There is neither.
        IntegrityError: What the run left is missing or damaged.
    """
    try:
        found = repository.resolve(text)
    except NotFoundError as error:
        return _of_run(repository, None, _run(repository, text, error))
    makers = repository.runs.maker_of(found.artifact, found.version.number)
    run = repository.runs.run(makers[0]) if makers else None
    if run is not None:
        return _of_run(repository, found.version, run)
    provenance = found.version.provenance
    inputs = tuple(repository.runs.derived_from(found.artifact, found.version.number))
    words = _words(provenance.get("parent")) or _words(provenance.get("command"))
    return _recipe(found.version, None, inputs, {**provenance, "command": words})


def _run(repository: OpenRepository, text: str, otherwise: NotFoundError) -> RunRecord:
    try:
        return find_run(repository, text)
    except NotFoundError:
        raise otherwise from None


def _of_run(repository: OpenRepository, version: VersionRecord | None, run: RunRecord) -> Recipe:
    return _recipe(version, run, run.inputs, read_record(repository, run))


def _recipe(
    version: VersionRecord | None, run: RunRecord | None, inputs: tuple[LinkedVersion, ...], record: Mapping[str, Any]
) -> Recipe:
    code, python = _mapping(record.get("code")), _mapping(record.get("python"))
    commit, patch = _of(code.get("commit"), str), _of(code.get("patch"), str)
    return Recipe(
        version=version,
        run=run,
        command=tuple(_words(record.get("command"))),
        folder=_of(record.get("folder"), str),
        code_root=_of(code.get("root"), str),
        commit=commit if commit and _COMMIT.fullmatch(commit) else None,
        branch=_of(code.get("branch"), str),
        remote=_of(code.get("remote"), str),
        dirty=bool(code.get("dirty")),
        patch=BlobId(patch) if patch and _BLOB.fullmatch(patch) else None,
        untracked=tuple(_words(code.get("untracked"))),
        left_out=tuple(_words(code.get("left_out"))),
        inputs=inputs,
        places=_texts(record.get("places"), _LINE, _LINE),
        python=_of(python.get("version"), str),
        packages=_texts(record.get("packages"), _PACKAGE, _PACKAGE_VERSION),
        environment=_texts(record.get("environment"), _VARIABLE, _LINE),
        config={} if run is None else run.config,
    )


def _of(value: Any, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> Sequence[str]:
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else []


def _texts(value: Any, names: re.Pattern[str], values: re.Pattern[str]) -> dict[str, str]:
    return {
        key: text
        for key, text in _mapping(value).items()
        if names.fullmatch(key) and isinstance(text, str) and values.fullmatch(text)
    }
